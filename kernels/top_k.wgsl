// Routes each token to the experts with the largest logits. An expert's weight is its softmax over
// all experts or, if NORMALIZED, over the chosen ones.
override NORMALIZED: bool;

@group(0) @binding(0) var<storage, read> logits: array<f32>;          // [token, EXPERTS]
@group(0) @binding(1) var<storage, read_write> routes: array<Route>;  // [token, SLOTS]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = workgroup.x;
  for (var e = lane; e < EXPERTS; e += LANES) { ranks[e] = logits[token * EXPERTS + e]; }
  choose(lane);
  let most = ranks[chosen[0]];
  var total = 0.0;
  if (NORMALIZED) {
    for (var s = 0u; s < SLOTS; s++) { total += exp(ranks[chosen[s]] - most); }
  } else {
    for (var e = 0u; e < EXPERTS; e++) { total += exp(ranks[e] - most); }
  }
  for (var s = lane; s < SLOTS; s += LANES) {
    routes[token * SLOTS + s] = Route(chosen[s], exp(ranks[chosen[s]] - most) / total);
  }
}
