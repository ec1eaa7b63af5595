// Q4_0: w = d·(q − 8).
fn row_scale(scales: Scales, r: u32) -> RowScale {
  return RowScale(vec2(scales.d[r]), vec2(-8.0 * scales.d[r]));
}
