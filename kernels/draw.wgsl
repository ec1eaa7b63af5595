// Which of a row's logits are kept, and what each draws.

// Orders like the float.
fn order_key(logit: f32) -> u32 {
  let bits = bitcast<u32>(logit);
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// The lowest key that min-p keeps; 0 where it is off.
fn min_p_key(s: Sampler, most: f32) -> u32 {
  if (s.min_p > 0.0) { return order_key(most + log(s.min_p)); }
  return 0u;
}

// What a token draws, of whose row `noise` is the key: the highest draw is chosen.
fn drawn(s: Sampler, noise: u32, logit: f32, id: u32) -> f32 {
  return logit / s.temperature + gumbel(noise, id);
}

// The better of two draws, each (bits of the draw, id); of equal ones that of the lower id.
fn better(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let x = bitcast<f32>(a.x);
  let y = bitcast<f32>(b.x);
  return select(a, b, y > x || (y == x && b.y < a.y));
}
