// Q4_K and Q5_K: w = d·sc·q − dmin·m; sc and m, six bits each, per span of 32. A row's superblock
// has f16 d and dmin, then twelve bytes: low six bits of bytes 0–3 are sc 0–3, of bytes 4–7 m 0–3;
// sc and m 4–7 have their low four bits in bytes 8–11, their high two atop bytes 0–3 and 4–7.
@group(0) @binding(1) var<storage, read> packed_scales: array<vec4<u32>>;  // 4 rows

struct Scales { s: array<vec4<u32>, 4> }

fn load_scales(super_unit: u32) -> Scales {
  return Scales(array(packed_scales[word_of(super_unit, 4u, 0u)],
    packed_scales[word_of(super_unit, 4u, 1u)], packed_scales[word_of(super_unit, 4u, 2u)],
    packed_scales[word_of(super_unit, 4u, 3u)]));
}

fn row_scale(scales: Scales, r: u32, part: u32) -> RowScale {
  let s = scales.s[r];
  let d = unpack2x16float(s.x);
  let shift = part % 4u * 8u;
  let a = s.y >> shift;
  let b = s.z >> shift;
  let low = s.w >> shift;
  let late = part >= 4u;
  let sc = select(a & 63u, (low & 15u) | ((a >> 2u) & 48u), late);
  let m = select(b & 63u, ((low >> 4u) & 15u) | ((b >> 2u) & 48u), late);
  return RowScale(vec2(d.x * f32(sc)), vec2(-d.y * f32(m)));
}
