// RMSNorm of each query and key head in place, one invocation a head of a token.
override HEADS: u32;
override KV_HEADS: u32;
override HEAD_DIM: u32;
override EPSILON: f32;
override LANES: u32;

@group(0) @binding(0) var<storage, read_write> qkv: array<vec4<f32>>;   // [token, HEADS + 2·KV_HEADS, HEAD_DIM / 4]
@group(0) @binding(1) var<storage, read> q_weight: array<vec4<f32>>;    // [HEAD_DIM / 4]
@group(0) @binding(2) var<storage, read> k_weight: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= HEADS + KV_HEADS) { return; }
  let base = (id.y * (HEADS + 2u * KV_HEADS) + id.x) * (HEAD_DIM / 4u);
  var squares = 0.0;
  for (var i = 0u; i < HEAD_DIM / 4u; i++) {
    let v = qkv[base + i];
    squares += dot(v, v);
  }
  let scale = inverseSqrt(squares / f32(HEAD_DIM) + EPSILON);
  for (var i = 0u; i < HEAD_DIM / 4u; i++) {
    var weight = k_weight[i];
    if (id.x < HEADS) { weight = q_weight[i]; }
    qkv[base + i] = qkv[base + i] * scale * weight;
  }
}
