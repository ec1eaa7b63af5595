// IQ4_NL: w = d·table[q].
fn row_scale(scales: Scales, r: u32, part: u32) -> RowScale {
  return RowScale(vec2(scales.d[r]), vec2(0.0));
}
