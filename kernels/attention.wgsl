// Causal attention of one token over its sequence's paged cache, for software drivers
// (attention_keys.wgsl is for GPUs). A workgroup serves QUERIES heads that share a KV head, so that
// each key and value is read once for all of them. Every lane processes its share of the positions
// that the token attends to, with a running maximum and sum (the online softmax of Milakov and
// Gimelshein, 2018). The partial results of the lanes are then added in a fixed order.
override HEADS: u32;
override KV_HEADS: u32;
override LANES: u32;
override SCALE: f32;   // multiplies q · k
override WINDOW: u32;  // positions that a token attends to, its own included; 0: all
override KV_GROUPS: u32;  // block tables per sequence
override KV_GROUP: u32;   // index of the block table that this layer uses
const BLOCK_TOKENS = 16u;
// HEAD_DIM (a multiple of 8) and QUERIES are `const` lines before this file, because they are sizes
// of private arrays.
const EIGHTS = HEAD_DIM / 8u;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;  // [token, HEADS, HEAD_DIM / 4]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;  // [token, HEADS, HEAD_DIM / 4]
@group(0) @binding(4) var<storage, read> batch: array<u32>;

struct Head { query: array<vec4<f32>, EIGHTS * 2u>, sum: array<vec4<f32>, EIGHTS * 2u>, most: f32, total: f32 }

var<workgroup> maxima: array<f32, LANES>;
var<workgroup> sums: array<f32, LANES>;
var<workgroup> parts: array<vec4<f32>, LANES * EIGHTS * 2u>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let head = workgroup.x * QUERIES;
  let token = token_at(workgroup.y);
  let kv_head = head / (HEADS / KV_HEADS);
  let q_base = (workgroup.y * HEADS + head) * EIGHTS * 2u;

  var heads: array<Head, QUERIES>;
  for (var n = 0u; n < QUERIES; n++) {
    heads[n].most = -3.0e38;
    for (var i = 0u; i < EIGHTS * 2u; i++) {
      heads[n].query[i] = q[q_base + n * EIGHTS * 2u + i] * SCALE;
    }
  }
  var start = 0u;
  if (WINDOW > 0u && token.position >= WINDOW) { start = token.position + 1u - WINDOW; }
  for (var position = start + lane; position <= token.position; position += LANES) {
    let block = batch[token.table + position / BLOCK_TOKENS * KV_GROUPS + KV_GROUP];
    let base = ((block * KV_HEADS + kv_head) * BLOCK_TOKENS + position % BLOCK_TOKENS) * EIGHTS;
    var scores = array<f32, QUERIES>();  // set to zeros in every iteration
    for (var i = 0u; i < EIGHTS; i++) {
      let k = load_key(base + i);
      for (var n = 0u; n < QUERIES; n++) {
        scores[n] += dot(heads[n].query[i * 2u], k.lo) + dot(heads[n].query[i * 2u + 1u], k.hi);
      }
    }
    var keep: array<f32, QUERIES>;
    for (var n = 0u; n < QUERIES; n++) {
      let most = max(heads[n].most, scores[n]);
      keep[n] = exp(heads[n].most - most);
      scores[n] = exp(scores[n] - most);
      heads[n].most = most;
      heads[n].total = heads[n].total * keep[n] + scores[n];
    }
    for (var i = 0u; i < EIGHTS; i++) {
      let v = load_value(base + i);
      for (var n = 0u; n < QUERIES; n++) {
        heads[n].sum[i * 2u] = heads[n].sum[i * 2u] * keep[n] + v.lo * scores[n];
        heads[n].sum[i * 2u + 1u] = heads[n].sum[i * 2u + 1u] * keep[n] + v.hi * scores[n];
      }
    }
  }

  for (var n = 0u; n < QUERIES; n++) {
    maxima[lane] = heads[n].most;
    sums[lane] = heads[n].total;
    workgroupBarrier();
    var most = heads[n].most;
    var total = 0.0;
    for (var i = 0u; i < LANES; i++) { most = max(most, maxima[i]); }
    for (var i = 0u; i < LANES; i++) { total += sums[i] * exp(maxima[i] - most); }
    let share = exp(maxima[lane] - most) / total;
    for (var i = 0u; i < EIGHTS * 2u; i++) { parts[lane * EIGHTS * 2u + i] = heads[n].sum[i] * share; }
    workgroupBarrier();
    for (var i = lane; i < EIGHTS * 2u; i += LANES) {
      var all = vec4(0.0);
      for (var other = 0u; other < LANES; other++) { all += parts[other * EIGHTS * 2u + i]; }
      y[q_base + n * EIGHTS * 2u + i] = all;
    }
    workgroupBarrier();
  }
}
