// Q4_0: w = d·(q − 8).
fn load_row(unit: u32, r: u32, part: u32, scales: Scales) -> Row {
  return Row(load_quants(unit, r), vec2(scales.d[r]), vec2(-8.0 * scales.d[r]));
}
