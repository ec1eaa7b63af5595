// Q6_K: w = d·sc·(q − 32); low nibbles as in q4.wgsl, high pairs of bits in two words a row; a
// signed byte sc per 16 weights.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;        // [unit, 4 rows + 2 of high bits]
@group(0) @binding(1) var<storage, read> block_scales: array<vec4<u32>>;  // [super-unit, 4 rows of sc + d]

struct Scales { s: array<vec4<u32>, 4>, d: vec4<f32> }

fn load_scales(unit: u32) -> Scales {
  let d = block_scales[unit * 5u + 4u];
  return Scales(array(block_scales[unit * 5u], block_scales[unit * 5u + 1u],
    block_scales[unit * 5u + 2u], block_scales[unit * 5u + 3u]),
    vec4(unpack2x16float(d.x), unpack2x16float(d.y)));
}

fn six(word: u32, high: vec2<u32>, i: u32) -> vec4<f32> {
  return vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu) | (four_pairs(high, i) << vec4(4u)));
}

fn load_row(unit: u32, r: u32, part: u32, scales: Scales) -> Row {
  let q = quants[unit * 6u + r];
  let h = q >> vec4(4u);
  let pairs = quants[unit * 6u + 4u + r / 2u];
  let high = select(pairs.xy, pairs.zw, r % 2u == 1u);
  let word = scales.s[r][part / 2u] >> (part % 2u * 16u);
  let scale = scales.d[r] * vec2(signed_byte(word, 0u), signed_byte(word, 1u));
  return Row(array(six(q.x, high, 0u), six(q.y, high, 1u), six(q.z, high, 2u), six(q.w, high, 3u),
    six(h.x, high, 4u), six(h.y, high, 5u), six(h.z, high, 6u), six(h.w, high, 7u)),
    scale, scale * -32.0);
}
