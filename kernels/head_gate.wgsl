// x *= sigmoid(gates), four elements per invocation.
override WIDTH: u32;  // elements per token, a multiple of 4
override LANES: u32;

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;  // [token, WIDTH / 4]
@group(0) @binding(1) var<storage, read> gates: array<vec4<f32>>;    // the same

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= WIDTH / 4u) { return; }
  let at = id.y * (WIDTH / 4u) + id.x;
  x[at] = x[at] / (1.0 + exp(-gates[at]));
}
