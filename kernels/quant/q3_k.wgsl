// Q3_K: w = d·(sc − 32)·(q − 4). q consists of two low bits and a high bit; there is one sc of six
// bits per 16 weights. Per unit: 2 vec4s with the low bits, two rows in each, then 1 with the high
// bits of all rows.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;

const PIECES = 1u;
struct Quants { q: vec2<u32>, bits: u32 }

fn load_quants(unit: Unit, r: u32, piece: u32) -> Quants {
  let words = quants[word_of(unit, 3u, r / 2u)];
  return Quants(select(words.xy, words.zw, r % 2u == 1u), quants[word_of(unit, 3u, 2u)][r]);
}

fn four(q: Quants, i: u32) -> u32 {
  return four_pairs(q.q, i) | four_bits(q.bits, i, 2u);
}

fn row_scale(scales: Scales, r: u32) -> RowScale {
  let sc = vec2(byte_of(scales.first, r), byte_of(scales.second, r));
  let scale = unpack2x16float(scales.d[r]).x * (sc - 32.0);
  return RowScale(scale, scale * -4.0);
}
