// Routes each token to the experts whose sigmoid plus bias is largest. An expert's weight is its
// sigmoid times SCALE, divided, if NORMALIZED, by the sum of the chosen experts' sigmoids.
override NORMALIZED: bool;
override SCALE: f32;

@group(0) @binding(0) var<storage, read> logits: array<f32>;          // [token, EXPERTS]
@group(0) @binding(1) var<storage, read_write> routes: array<Route>;  // [token, SLOTS]
@group(0) @binding(2) var<storage, read> bias: array<f32>;            // [EXPERTS]

fn score(token: u32, expert: u32) -> f32 {
  return 1.0 / (1.0 + exp(-logits[token * EXPERTS + expert]));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = workgroup.x;
  for (var e = lane; e < EXPERTS; e += LANES) { ranks[e] = score(token, e) + bias[e]; }
  choose(lane);
  var total = 1.0;
  if (NORMALIZED) {
    total = 0.0;
    for (var s = 0u; s < SLOTS; s++) { total += score(token, chosen[s]); }
  }
  for (var s = lane; s < SLOTS; s += LANES) {
    routes[token * SLOTS + s] = Route(chosen[s], score(token, chosen[s]) * SCALE / total);
  }
}
