// Q6_K: w = d·sc·(q − 32). Low nibbles are stored as in nibbles.wgsl, high bit pairs in two words
// per row, sc + 128 in one byte per 16 weights, and d of two rows in one word. Per unit: 4 vec4s
// with the low nibbles of the 4 rows, then 2 with the high bits.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;

const PIECES = 1u;
struct Quants { q: vec4<u32>, high: vec2<u32> }

fn load_quants(unit: Unit, r: u32, piece: u32) -> Quants {
  let pairs = quants[word_of(unit, 6u, 4u + r / 2u)];
  return Quants(quants[word_of(unit, 6u, r)], select(pairs.xy, pairs.zw, r % 2u == 1u));
}

fn four(q: Quants, i: u32) -> u32 {
  return four_nibbles(q.q, i) | (four_pairs(q.high, i) << 4u);
}

fn row_scale(scales: Scales, r: u32) -> RowScale {
  let d = unpack2x16float(scales.d[r / 2u])[r % 2u];
  let scale = d * (vec2(byte_of(scales.first, r), byte_of(scales.second, r)) - 128.0);
  return RowScale(scale, scale * -32.0);
}
