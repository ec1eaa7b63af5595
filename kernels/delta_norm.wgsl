// RMSNorm of each head, multiplied by the weight and silu of the gate; in place. One workgroup per
// head and token.
override HEADS: u32;
override HEAD_DIM: u32;  // a multiple of 4
override EPSILON: f32;

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;  // [token, HEADS, HEAD_DIM / 4]
@group(0) @binding(1) var<storage, read> gates: array<vec4<f32>>;    // the same
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;   // [HEAD_DIM / 4]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let width = HEAD_DIM / 4u;
  let base = (workgroup.y * HEADS + workgroup.x) * width;
  var squares = 0.0;
  for (var i = lane; i < width; i += LANES) { squares += dot(x[base + i], x[base + i]); }
  let scale = inverseSqrt(sum_of_lanes(squares, lane) / f32(HEAD_DIM) + EPSILON);
  for (var i = lane; i < width; i += LANES) {
    let gate = gates[base + i];
    x[base + i] = x[base + i] * scale * weight[i] * gate / (1.0 + exp(-gate));
  }
}
