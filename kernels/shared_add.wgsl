// y[token, :] += sigmoid(logits[token]) · part[token, :], four elements per invocation.
override WIDTH: u32;  // elements per token, a multiple of 4
override LANES: u32;

@group(0) @binding(0) var<storage, read> logits: array<f32>;         // [token]
@group(0) @binding(1) var<storage, read> part: array<vec4<f32>>;     // [token, WIDTH / 4]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;  // the same

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= WIDTH / 4u) { return; }
  let at = id.y * (WIDTH / 4u) + id.x;
  y[at] += part[at] / (1.0 + exp(-logits[id.y]));
}
