// A standard Gumbel variate from a counter, so that a draw depends only on seed, position and id.
// engine/run/sampler.ts contains the same arithmetic and explains it.
fn pcg(v: u32) -> u32 {
  let state = v * 747796405u + 2891336453u;
  let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return (word >> 22u) ^ word;
}

fn draw_key(seed: u32, position: u32) -> u32 {
  return pcg(position + pcg(seed));
}

fn gumbel(key: u32, id: u32) -> f32 {
  let v = (f32(pcg(id ^ key) >> 9u) + 0.5) / 8388608.0;
  var exponential = v * (1.0 + v * (0.5 + v * (0.33333333 + v * 0.25)));
  if (v >= 0.0625) { exponential = -log(1.0 - v); }
  return -log(exponential);
}
