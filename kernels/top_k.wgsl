// Routes each token to the SLOTS experts with the largest logits, of equals the lower number first.
// An expert's weight is its softmax over all experts, or, if NORMALIZED, over the chosen ones. One
// workgroup a token; a lane counts, for each of its experts, those before it.
override LANES: u32;
override EXPERTS: u32;
override SLOTS: u32;
override NORMALIZED: bool;

@group(0) @binding(0) var<storage, read> logits: array<f32>;          // [token, EXPERTS]
@group(0) @binding(1) var<storage, read_write> routes: array<Route>;  // [token, SLOTS]

var<workgroup> all: array<f32, EXPERTS>;
var<workgroup> chosen: array<u32, SLOTS>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = workgroup.x;
  for (var e = lane; e < EXPERTS; e += LANES) { all[e] = logits[token * EXPERTS + e]; }
  workgroupBarrier();
  for (var e = lane; e < EXPERTS; e += LANES) {
    let own = all[e];
    var before = 0u;
    for (var other = 0u; other < EXPERTS; other++) {
      before += u32(all[other] > own || (all[other] == own && other < e));
    }
    if (before < SLOTS) { chosen[before] = e; }
  }
  workgroupBarrier();
  let most = all[chosen[0]];
  var total = 0.0;
  if (NORMALIZED) {
    for (var s = 0u; s < SLOTS; s++) { total += exp(all[chosen[s]] - most); }
  } else {
    for (var e = 0u; e < EXPERTS; e++) { total += exp(all[e] - most); }
  }
  for (var s = lane; s < SLOTS; s += LANES) {
    routes[token * SLOTS + s] = Route(chosen[s], exp(all[chosen[s]] - most) / total);
  }
}
