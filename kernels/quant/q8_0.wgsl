// Q8_0: w = d·(q − 128), because packing has made the signed bytes unsigned.
fn row_scale(scales: Scales, r: u32) -> RowScale {
  return RowScale(vec2(scales.d[r]), vec2(-128.0 * scales.d[r]));
}
