// Multiplies the outputs of Mamba's heads by silu of their gates, then applies RMSNorm with weights
// to each group; in place. One workgroup per group and token.
override GROUPS: u32;
override GROUP_DIM: u32;  // a multiple of 4
override EPSILON: f32;

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;  // [token, GROUPS, GROUP_DIM / 4]
@group(0) @binding(1) var<storage, read> gates: array<vec4<f32>>;    // the same
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;   // [GROUPS, GROUP_DIM / 4]

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let width = GROUP_DIM / 4u;
  let base = (workgroup.y * GROUPS + workgroup.x) * width;
  var squares = 0.0;
  for (var i = lane; i < width; i += LANES) {
    let gate = gates[base + i];
    let gated = x[base + i] * gate / (1.0 + exp(-gate));
    x[base + i] = gated;
    squares += dot(gated, gated);
  }
  let scale = inverseSqrt(sum_of_lanes(squares, lane) / f32(GROUP_DIM) + EPSILON);
  for (var i = lane; i < width; i += LANES) {
    x[base + i] = x[base + i] * scale * weight[workgroup.x * width + i];
  }
}
