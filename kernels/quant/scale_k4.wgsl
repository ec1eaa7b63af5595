// Q4_K and Q5_K: w = d·sc·q − dmin·m; sc and m, six bits each, per block of 32. A row's super-block
// has f16 d and dmin, then twelve bytes: low six bits of bytes 0–3 are sc 0–3, of bytes 4–7 m 0–3;
// sc and m 4–7 have their low four bits in bytes 8–11, their high two atop bytes 0–3 and 4–7.
@group(0) @binding(1) var<storage, read> block_scales: array<vec4<u32>>;  // [super-unit, 4 rows]

struct Scales { s: array<vec4<u32>, 4> }

fn load_scales(unit: u32) -> Scales {
  return Scales(array(block_scales[unit * 4u], block_scales[unit * 4u + 1u],
    block_scales[unit * 4u + 2u], block_scales[unit * 4u + 3u]));
}

fn load_row(unit: u32, r: u32, part: u32, scales: Scales) -> Row {
  let s = scales.s[r];
  let d = unpack2x16float(s.x);
  let shift = part % 4u * 8u;
  let a = s.y >> shift;
  let b = s.z >> shift;
  var sc = a & 63u;
  var m = b & 63u;
  if (part >= 4u) {
    let low = s.w >> shift;
    sc = (low & 15u) | ((a >> 2u) & 48u);
    m = ((low >> 4u) & 15u) | ((b >> 2u) & 48u);
  }
  return Row(load_quants(unit, r), vec2(d.x * f32(sc)), vec2(-d.y * f32(m)));
}
