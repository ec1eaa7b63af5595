// The order of logits, the threshold of min-p, and the random draws of tokens.

// Returns an integer that orders like the float.
fn order_key(logit: f32) -> u32 {
  let bits = bitcast<u32>(logit);
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// Returns the lowest key that min-p keeps; 0 if it is off.
fn min_p_key(s: Sampler, most: f32) -> u32 {
  if (s.min_p > 0.0) { return order_key(most + log(s.min_p)); }
  return 0u;
}

// Returns the draw of a token; the token with the highest draw is chosen. `noise` is the key of its
// row.
fn drawn(s: Sampler, noise: u32, logit: f32, id: u32) -> f32 {
  return logit / s.temperature + gumbel(noise, id);
}

// Returns the better of two draws, each (bits of the draw, id); among equals, that of the lower id.
fn better(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let x = bitcast<f32>(a.x);
  let y = bitcast<f32>(b.x);
  return select(a, b, y > x || (y == x && b.y < a.y));
}
