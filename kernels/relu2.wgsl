// x = max(x, 0)², four elements per invocation.
override WIDTH: u32;  // elements per token, a multiple of 4
override LANES: u32;

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;  // [token, WIDTH / 4]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= WIDTH / 4u) { return; }
  let at = id.y * (WIDTH / 4u) + id.x;
  let positive = max(x[at], vec4(0.0));
  x[at] = positive * positive;
}
