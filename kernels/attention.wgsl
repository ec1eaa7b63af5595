// Causal attention of one head of one token over its sequence's paged cache, one workgroup each.
// Every lane walks its share of the positions with a running maximum and sum (the online softmax
// of Milakov and Gimelshein, 2018); the lanes' parts are then added in a fixed order.
override HEADS: u32;
override KV_HEADS: u32;
override LANES: u32;
const BLOCK_TOKENS = 16u;
// HEAD_DIM, a multiple of 8, is set by the line before this file: it sizes private arrays.
const EIGHTS = HEAD_DIM / 8u;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;  // [token, HEADS, HEAD_DIM / 4]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;  // [token, HEADS, HEAD_DIM / 4]
@group(0) @binding(4) var<storage, read> batch: array<u32>;

var<workgroup> maxima: array<f32, LANES>;
var<workgroup> sums: array<f32, LANES>;
var<workgroup> parts: array<vec4<f32>, LANES * EIGHTS * 2u>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let head = workgroup.x;
  let token = token_at(workgroup.y);
  let kv_head = head / (HEADS / KV_HEADS);
  let q_base = (workgroup.y * HEADS + head) * EIGHTS * 2u;
  let scale = inverseSqrt(f32(HEAD_DIM));

  var query: array<vec4<f32>, EIGHTS * 2u>;
  var sum: array<vec4<f32>, EIGHTS * 2u>;
  for (var i = 0u; i < EIGHTS * 2u; i++) { query[i] = q[q_base + i] * scale; }
  var most = -3.0e38;
  var total = 0.0;
  for (var position = lane; position <= token.position; position += LANES) {
    let block = batch[token.table + position / BLOCK_TOKENS];
    let base = ((block * KV_HEADS + kv_head) * BLOCK_TOKENS + position % BLOCK_TOKENS) * EIGHTS;
    var score = 0.0;
    for (var i = 0u; i < EIGHTS; i++) {
      let k = load_key(base + i);
      score += dot(query[i * 2u], k.lo) + dot(query[i * 2u + 1u], k.hi);
    }
    let new_most = max(most, score);
    let keep = exp(most - new_most);
    let weight = exp(score - new_most);
    most = new_most;
    total = total * keep + weight;
    for (var i = 0u; i < EIGHTS; i++) {
      let v = load_value(base + i);
      sum[i * 2u] = sum[i * 2u] * keep + v.lo * weight;
      sum[i * 2u + 1u] = sum[i * 2u + 1u] * keep + v.hi * weight;
    }
  }

  maxima[lane] = most;
  sums[lane] = total;
  workgroupBarrier();
  for (var i = 0u; i < LANES; i++) { most = max(most, maxima[i]); }
  total = 0.0;
  for (var i = 0u; i < LANES; i++) { total += sums[i] * exp(maxima[i] - most); }
  let share = exp(maxima[lane] - most) / total;
  for (var i = 0u; i < EIGHTS * 2u; i++) { parts[lane * EIGHTS * 2u + i] = sum[i] * share; }
  workgroupBarrier();
  for (var i = lane; i < EIGHTS * 2u; i += LANES) {
    var all = vec4(0.0);
    for (var other = 0u; other < LANES; other++) { all += parts[other * EIGHTS * 2u + i]; }
    y[q_base + i] = all;
  }
}
