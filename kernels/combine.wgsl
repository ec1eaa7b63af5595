// y[token, :] = Σ weight·part[slot, :] over the token's slots; with ADD, the sum is added to y.
// Four elements per invocation.
override LANES: u32;
override DIM: u32;
override SLOTS: u32;
override ADD: bool;

@group(0) @binding(0) var<storage, read> routes: array<Route>;             // [token, SLOTS]
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;          // [token, SLOTS, DIM / 4]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;        // [token, DIM / 4]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let width = DIM / 4u;
  if (id.x >= width) { return; }
  let at = id.y * width + id.x;
  var sum = vec4(0.0);
  for (var slot = id.y * SLOTS; slot < (id.y + 1u) * SLOTS; slot++) {
    sum += routes[slot].weight * parts[slot * width + id.x];
  }
  if (ADD) { sum += y[at]; }
  y[at] = sum;
}
