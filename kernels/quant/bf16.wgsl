// BF16, widened by shifts: a bfloat16 is the upper half of a float32.
fn pair(word: u32) -> vec2<f32> {
  return vec2(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xffff0000u));
}
