// Q2_K: w = d·sc·q − dmin·m. sc and m, four bits each, share a byte per 16 weights; d and dmin of a
// row share a word.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // 2 vec4s, two rows in each

const PIECES = 1u;
struct Quants { q: vec2<u32> }

fn load_quants(unit: Unit, r: u32, piece: u32) -> Quants {
  let words = quants[word_of(unit, 2u, r / 2u)];
  return Quants(select(words.xy, words.zw, r % 2u == 1u));
}

fn four(q: Quants, i: u32) -> u32 { return four_pairs(q.q, i); }

fn row_scale(scales: Scales, r: u32) -> RowScale {
  let d = unpack2x16float(scales.d[r]);
  let bytes = vec2(scales.first, scales.second);
  let sc = bytes & vec2(0x0f0f0f0fu);
  let m = (bytes >> vec2(4u)) & vec2(0x0f0f0f0fu);
  return RowScale(d.x * vec2(byte_of(sc.x, r), byte_of(sc.y, r)),
    -d.y * vec2(byte_of(m.x, r), byte_of(m.y, r)));
}
