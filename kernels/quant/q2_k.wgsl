// Q2_K: w = d·sc·q − dmin·m; sc and m, four bits each, in a byte per 16 weights.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;        // [unit, 4 rows × 2 words]
@group(0) @binding(1) var<storage, read> block_scales: array<vec4<u32>>;  // [super-unit, 4 rows of sc, m + d, dmin]

struct Scales { s: array<vec4<u32>, 4>, d: vec4<u32> }

fn load_scales(unit: u32) -> Scales {
  return Scales(array(block_scales[unit * 5u], block_scales[unit * 5u + 1u],
    block_scales[unit * 5u + 2u], block_scales[unit * 5u + 3u]), block_scales[unit * 5u + 4u]);
}

fn load_row(unit: u32, r: u32, part: u32, scales: Scales) -> Row {
  let words = quants[unit * 2u + r / 2u];
  let q = select(words.xy, words.zw, r % 2u == 1u);
  let d = unpack2x16float(scales.d[r]);
  let s = scales.s[r][part / 2u] >> (part % 2u * 16u);
  var row: Row;
  for (var i = 0u; i < 8u; i++) { row.w[i] = vec4<f32>(four_pairs(q, i)); }
  row.scale = d.x * vec2(f32(s & 15u), f32((s >> 8u) & 15u));
  row.offset = -d.y * vec2(f32((s >> 4u) & 15u), f32((s >> 12u) & 15u));
  return row;
}
