// Q3_K: w = d·(sc − 32)·(q − 4), q being two low bits and a high one; sc, six bits, per 16 weights:
// low four bits in bytes 0–7 (nibbles 0–7 low, 8–15 high), high two in bytes 8–11.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;        // 2 words, of two rows each, and high bits
@group(0) @binding(1) var<storage, read> packed_scales: array<vec4<u32>>;  // 4 rows: 12 bytes of sc, d

const PIECES = 1u;
struct Quants { q: vec2<u32>, bits: u32 }
struct Scales { s: array<vec4<u32>, 4> }

fn load_scales(super_unit: u32) -> Scales {
  return Scales(array(packed_scales[word_of(super_unit, 4u, 0u)],
    packed_scales[word_of(super_unit, 4u, 1u)], packed_scales[word_of(super_unit, 4u, 2u)],
    packed_scales[word_of(super_unit, 4u, 3u)]));
}

fn six_bits(s: vec4<u32>, i: u32) -> f32 {
  let low = s[i % 8u / 4u] >> (i % 4u * 8u + i / 8u * 4u);
  let high = s.z >> (i % 4u * 8u + i / 4u * 2u);
  return f32((low & 15u) | ((high & 3u) << 4u)) - 32.0;
}

fn load_quants(unit: u32, r: u32, piece: u32) -> Quants {
  let words = quants[word_of(unit, 3u, r / 2u)];
  return Quants(select(words.xy, words.zw, r % 2u == 1u), quants[word_of(unit, 3u, 2u)][r]);
}

fn weights(q: Quants, i: u32) -> vec4<f32> {
  return four_floats(four_pairs(q.q, i) | (four_bits(q.bits, i) << 2u));
}

fn row_scale(scales: Scales, r: u32, part: u32) -> RowScale {
  let s = scales.s[r];
  let scale = unpack2x16float(s.w).x *
    vec2(six_bits(s, part * 2u), six_bits(s, part * 2u + 1u));
  return RowScale(scale, scale * -4.0);
}
