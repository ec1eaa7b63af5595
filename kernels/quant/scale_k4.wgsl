// Q4_K and Q5_K: w = d·sc·q − dmin·m, with one sc and one m of six bits each per span of 32.
fn row_scale(scales: Scales, r: u32) -> RowScale {
  let d = unpack2x16float(scales.d[r]);
  return RowScale(vec2(d.x * byte_of(scales.first, r)), vec2(-d.y * byte_of(scales.second, r)));
}
