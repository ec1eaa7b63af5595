// Q5_0: w = d·(q − 16).
fn row_scale(scales: Scales, r: u32) -> RowScale {
  return RowScale(vec2(scales.d[r]), vec2(-16.0 * scales.d[r]));
}
