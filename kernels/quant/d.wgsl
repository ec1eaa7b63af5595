// w = d·value.
fn row_scale(scales: Scales, r: u32) -> RowScale {
  return RowScale(vec2(scales.d[r]), vec2(0.0));
}
