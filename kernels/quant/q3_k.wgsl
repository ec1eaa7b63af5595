// Q3_K: w = d·(sc − 32)·(q − 4), q being two low bits and a high one; sc, six bits, per 16 weights:
// low four bits in bytes 0–7 (nibbles 0–7 low, 8–15 high), high two in bytes 8–11.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;        // [unit, 4 rows × 2 words + high bits]
@group(0) @binding(1) var<storage, read> block_scales: array<vec4<u32>>;  // [super-unit, 4 rows: 12 bytes of sc, d]

struct Scales { s: array<vec4<u32>, 4> }

fn load_scales(unit: u32) -> Scales {
  return Scales(array(block_scales[unit * 4u], block_scales[unit * 4u + 1u],
    block_scales[unit * 4u + 2u], block_scales[unit * 4u + 3u]));
}

fn six_bits(s: vec4<u32>, i: u32) -> f32 {
  let low = s[i % 8u / 4u] >> (i % 4u * 8u + i / 8u * 4u);
  let high = s.z >> (i % 4u * 8u + i / 4u * 2u);
  return f32((low & 15u) | ((high & 3u) << 4u)) - 32.0;
}

fn load_row(unit: u32, r: u32, part: u32, scales: Scales) -> Row {
  let words = quants[unit * 3u + r / 2u];
  let q = select(words.xy, words.zw, r % 2u == 1u);
  let bits = quants[unit * 3u + 2u][r];
  let s = scales.s[r];
  let d = unpack2x16float(s.w).x;
  var row: Row;
  for (var i = 0u; i < 8u; i++) {
    row.w[i] = vec4<f32>(four_pairs(q, i) | (four_bits(bits, i) << vec4(2u)));
  }
  row.scale = d * vec2(six_bits(s, part * 2u), six_bits(s, part * 2u + 1u));
  row.offset = row.scale * -4.0;
  return row;
}
