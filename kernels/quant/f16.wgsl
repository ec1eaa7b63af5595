// F16, widened by unpack2x16float, which needs no device feature.
fn pair(word: u32) -> vec2<f32> { return unpack2x16float(word); }
