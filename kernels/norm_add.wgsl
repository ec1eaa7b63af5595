// h[token, :] += RMSNorm(x[token, :]) · weight: normalizes a branch and adds it to the residual
// stream. One workgroup per token.
override DIM: u32;  // a multiple of 4
override EPSILON: f32;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;        // [token, DIM / 4]
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;   // [DIM / 4]
@group(0) @binding(2) var<storage, read_write> h: array<vec4<f32>>;  // [token, DIM / 4]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let width = DIM / 4u;
  let base = workgroup.x * width;
  var squares = 0.0;
  for (var i = lane; i < width; i += LANES) { squares += dot(x[base + i], x[base + i]); }
  let scale = inverseSqrt(sum_of_lanes(squares, lane) / f32(DIM) + EPSILON);
  for (var i = lane; i < width; i += LANES) { h[base + i] += x[base + i] * scale * weight[i]; }
}
