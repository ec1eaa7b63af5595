// MXFP4: four bits a weight, as in q4.wgsl: a sign, and three bits m of a magnitude 0, 1, 2, 3, 4, 6, 8 or
// 12. Weights are these plus 12, so that they are bytes without a sign: w = d·(q − 12), d a power of
// two, in the upper half of a float32.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;         // 4 rows
@group(0) @binding(1) var<storage, read> packed_scales: array<vec2<u32>>;  // d of 4 rows

const PIECES = 1u;
struct Quants { q: vec4<u32> }
struct Scales { d: vec4<f32> }

fn load_quants(unit: u32, r: u32, piece: u32) -> Quants { return Quants(quants[word_of(unit, 4u, r)]); }

fn load_scales(super_unit: u32) -> Scales {
  let s = packed_scales[super_unit];
  return Scales(bitcast<vec4<f32>>(
    vec4(s.x << 16u, s.x & 0xffff0000u, s.y << 16u, s.y & 0xffff0000u)));
}

// Of four bytes, those whose bit `bit` is set become all ones.
fn byte_mask(bytes: u32, bit: u32) -> u32 { return ((bytes >> bit) & 0x01010101u) * 255u; }

fn weights(q: Quants, i: u32) -> vec4<f32> {
  let n = four_nibbles(q.q, i);
  let small = n & 0x03030303u;                       // m < 4: m itself
  let even = ((n & 0x01010101u) << 1u) | 0x04040404u;  // m = 4, 5: 4, 6
  let large = even + (even & byte_mask(n, 1u));        // m = 6, 7: twice that
  let magnitude = small ^ ((small ^ large) & byte_mask(n, 2u));
  return four_floats(magnitude + 0x0c0c0c0cu - ((magnitude & byte_mask(n, 3u)) << 1u));
}

fn row_scale(scales: Scales, r: u32, part: u32) -> RowScale {
  return RowScale(vec2(scales.d[r]), vec2(-12.0 * scales.d[r]));
}
