// Q2_K: w = d·sc·q − dmin·m; sc and m, four bits each, in a byte per 16 weights.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;        // 2 words, of two rows each
@group(0) @binding(1) var<storage, read> packed_scales: array<vec4<u32>>;  // 4 rows of sc and m, and d, dmin

const PIECES = 1u;
struct Quants { q: vec2<u32> }
struct Scales { s: array<vec4<u32>, 4>, d: vec4<u32> }

fn load_scales(super_unit: u32) -> Scales {
  return Scales(array(packed_scales[word_of(super_unit, 5u, 0u)],
    packed_scales[word_of(super_unit, 5u, 1u)], packed_scales[word_of(super_unit, 5u, 2u)],
    packed_scales[word_of(super_unit, 5u, 3u)]), packed_scales[word_of(super_unit, 5u, 4u)]);
}

fn load_quants(unit: u32, r: u32, piece: u32) -> Quants {
  let words = quants[word_of(unit, 2u, r / 2u)];
  return Quants(select(words.xy, words.zw, r % 2u == 1u));
}

fn weights(q: Quants, i: u32) -> vec4<f32> { return four_floats(four_pairs(q.q, i)); }

fn row_scale(scales: Scales, r: u32, part: u32) -> RowScale {
  let d = unpack2x16float(scales.d[r]);
  let s = scales.s[r][part / 2u] >> (part % 2u * 16u);
  return RowScale(d.x * vec2(f32(s & 15u), f32((s >> 8u) & 15u)),
    -d.y * vec2(f32((s >> 4u) & 15u), f32((s >> 12u) & 15u)));
}
