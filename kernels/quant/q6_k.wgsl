// Q6_K: w = d·sc·(q − 32); low nibbles as in q4.wgsl, high pairs of bits in two words a row; a
// signed byte sc per 16 weights.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;        // 4 rows, and 2 words of high bits
@group(0) @binding(1) var<storage, read> packed_scales: array<vec4<u32>>;  // 4 rows of sc, and d

const PIECES = 1u;
struct Quants { q: vec4<u32>, high: vec2<u32> }
struct Scales { s: array<vec4<u32>, 4>, d: vec4<f32> }

fn load_scales(super_unit: u32) -> Scales {
  let d = packed_scales[word_of(super_unit, 5u, 4u)];
  return Scales(array(packed_scales[word_of(super_unit, 5u, 0u)],
    packed_scales[word_of(super_unit, 5u, 1u)], packed_scales[word_of(super_unit, 5u, 2u)],
    packed_scales[word_of(super_unit, 5u, 3u)]), vec4(unpack2x16float(d.x), unpack2x16float(d.y)));
}

fn load_quants(unit: u32, r: u32, piece: u32) -> Quants {
  let pairs = quants[word_of(unit, 6u, 4u + r / 2u)];
  return Quants(quants[word_of(unit, 6u, r)], select(pairs.xy, pairs.zw, r % 2u == 1u));
}

fn weights(q: Quants, i: u32) -> vec4<f32> {
  return four_floats(four_nibbles(q.q, i) | (four_pairs(q.high, i) << 4u));
}

fn row_scale(scales: Scales, r: u32, part: u32) -> RowScale {
  let word = scales.s[r][part / 2u] >> (part % 2u * 16u);
  let scale = scales.d[r] * vec2(signed_byte(word, 0u), signed_byte(word, 1u));
  return RowScale(scale, scale * -32.0);
}
