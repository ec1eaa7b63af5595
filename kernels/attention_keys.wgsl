// Causal attention over the paged cache, for GPUs. A workgroup serves QUERIES queries of one KV
// head: QUERY_HEADS heads of QUERY_TOKENS tokens. It processes 64 positions at a time. First, each
// lane multiplies the key of one position by all queries. Then each lane sums eight elements of the
// values of every SHARES-th position. The softmax uses a running maximum and sum (Milakov and
// Gimelshein, 2018).
//
// In steps of one token per sequence, batch[6] workgroups share the positions of each token. If it
// is above 1, they write partial results, which attention_merge.wgsl merges (Dao et al.,
// Flash-Decoding, 2023).
override HEADS: u32;
override KV_HEADS: u32;
override SCALE: f32;      // multiplies q · k
override WINDOW: u32;     // positions that a token attends to, its own included; 0: all
override KV_GROUPS: u32;  // block tables per sequence
override KV_GROUP: u32;   // index of the block table that this layer uses
const BLOCK_TOKENS = 16u;
const KEYS = 64u;  // positions at a time, one per lane
const EIGHTS = HEAD_DIM / 8u;
const QUERIES = QUERY_HEADS * QUERY_TOKENS;
const FOURS = (QUERIES + 3u) / 4u;
const SHARES = KEYS / EIGHTS;
const HIDDEN = -3.0e38;  // the score of a position that a query does not attend to

@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;      // [token, HEADS, HEAD_DIM / 4]
@group(0) @binding(4) var<storage, read> batch: array<u32>;
// [token, HEADS, part, HEAD_DIM / 4]; each part is followed by its maximum and sum.
@group(0) @binding(6) var<storage, read_write> parts: array<vec4<f32>>;

struct Row { v: array<vec4<f32>, FOURS> }  // a number for each query

// The first token and head, and the KV head, that a workgroup serves. `appends`: whether it
// processes the token's own position.
struct Own { token: u32, kv_head: u32, head: u32, appends: bool }

// Returns the head of the n-th query.
fn query_head(own: Own, n: u32) -> u32 {
  let group = HEADS / KV_HEADS;
  return own.kv_head * group + min(own.head + n % QUERY_HEADS, group - 1u);
}

var<workgroup> scores: array<Row, KEYS>;
var<workgroup> eighths: array<Row, 8>;
var<workgroup> sums: array<Eight, KEYS>;

// Returns the maximum over all lanes, for each query.
fn most_of_all(lane: u32, own: Row) -> Row {
  scores[lane] = own;
  workgroupBarrier();
  if (lane < 8u) {
    var most = scores[lane * 8u];
    for (var i = 1u; i < 8u; i++) {
      let other = scores[lane * 8u + i];
      for (var f = 0u; f < FOURS; f++) { most.v[f] = max(most.v[f], other.v[f]); }
    }
    eighths[lane] = most;
  }
  workgroupBarrier();
  var most = eighths[0];
  for (var i = 1u; i < 8u; i++) {
    let other = eighths[i];
    for (var f = 0u; f < FOURS; f++) { most.v[f] = max(most.v[f], other.v[f]); }
  }
  return most;
}

// Returns the sum over all lanes, for each query.
fn sum_of_all(lane: u32, own: Row) -> Row {
  scores[lane] = own;
  workgroupBarrier();
  if (lane < 8u) {
    var sum = scores[lane * 8u];
    for (var i = 1u; i < 8u; i++) {
      let other = scores[lane * 8u + i];
      for (var f = 0u; f < FOURS; f++) { sum.v[f] += other.v[f]; }
    }
    eighths[lane] = sum;
  }
  workgroupBarrier();
  var sum = eighths[0];
  for (var i = 1u; i < 8u; i++) {
    let other = eighths[i];
    for (var f = 0u; f < FOURS; f++) { sum.v[f] += other.v[f]; }
  }
  return sum;
}

// Returns the first position that a token at `position` attends to.
fn first_seen(position: u32) -> u32 {
  if (WINDOW > 0u && position >= WINDOW) { return position + 1u - WINDOW; }
  return 0u;
}

@compute @workgroup_size(KEYS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let part_count = batch[6];
  let part = workgroup.y % part_count;
  let group = HEADS / KV_HEADS;
  let per_kv_head = (group + QUERY_HEADS - 1u) / QUERY_HEADS;  // workgroups that share a KV head
  let kv_head = workgroup.x / per_kv_head;
  // Index of the first head in the group. The last workgroup may serve fewer heads.
  let head = workgroup.x % per_kv_head * QUERY_HEADS;
  let first_token = workgroup.y / part_count * QUERY_TOKENS;
  let end_token = min(first_token + QUERY_TOKENS, batch[0]);
  let share = lane / EIGHTS;
  let eight = lane % EIGHTS;

  let position_of_first = token_at(first_token).position;
  let appends = (position_of_first - first_seen(position_of_first)) / KEYS % part_count == part;
  let own = Own(first_token, kv_head, head, appends);
  prepare(own, lane);
  var queries: array<u32, QUERIES>;
  for (var n = 0u; n < QUERIES; n++) {
    let token = min(first_token + n / QUERY_HEADS, end_token - 1u);
    queries[n] = token * HEADS + query_head(own, n);
  }
  var most: Row;
  var total: Row;
  for (var f = 0u; f < FOURS; f++) { most.v[f] = vec4(HIDDEN); }
  var sum: array<Eight, QUERIES>;
  // Processes the tokens of one sequence at a time, because they share a block table.
  for (var next = first_token; next < end_token;) {
    let run = token_at(next);
    var last = run.position;
    var run_end = next + 1u;
    for (; run_end < end_token && token_at(run_end).table == run.table; run_end++) { last++; }
    let start = first_seen(run.position);
    for (var base = start + part * KEYS; base <= last; base += part_count * KEYS) {
      let position = base + lane;
      var score = Row();  // set to zeros in every iteration
      if (position <= last) {
        let block = batch[run.table + position / BLOCK_TOKENS * KV_GROUPS + KV_GROUP];
        let keys_at = (block * KV_HEADS + kv_head) * EIGHTS * BLOCK_TOKENS + position % BLOCK_TOKENS;
        // Unrolled, this loop would be too long: unroll.ts does not unroll loops with `+= 1u`.
        for (var i = 0u; i < EIGHTS; i += 1u) {
          let k = load_key(keys_at + i * BLOCK_TOKENS);
          for (var n = 0u; n < QUERIES; n++) {
            let q = load_query(n, queries[n], i);
            let old = score.v[n / 4u][n % 4u];
            let lo = fma(k.lo.w, q.lo.w, fma(k.lo.z, q.lo.z, fma(k.lo.y, q.lo.y, fma(k.lo.x, q.lo.x, old))));
            score.v[n / 4u][n % 4u] =
              fma(k.hi.w, q.hi.w, fma(k.hi.z, q.hi.z, fma(k.hi.y, q.hi.y, fma(k.hi.x, q.hi.x, lo))));
          }
        }
      }
      var weights: Row;
      for (var n = 0u; n < QUERIES; n++) {
        let token = first_token + n / QUERY_HEADS;
        let reach = run.position + token - next;
        let seen = token >= next && token < run_end && position <= reach &&
          (WINDOW == 0u || position + WINDOW > reach);
        weights.v[n / 4u][n % 4u] = select(HIDDEN, score.v[n / 4u][n % 4u] * SCALE, seen);
      }
      let tile_most = most_of_all(lane, weights);
      var keep: Row;
      for (var f = 0u; f < FOURS; f++) {
        let now = max(most.v[f], tile_most.v[f]);
        keep.v[f] = exp(most.v[f] - now);
        most.v[f] = now;
        weights.v[f] = select(exp(weights.v[f] - now), vec4(0.0), weights.v[f] == vec4(HIDDEN));
        total.v[f] = fma(total.v[f], keep.v[f], weights.v[f]);
      }
      scores[lane] = weights;
      workgroupBarrier();
      for (var n = 0u; n < QUERIES; n++) {
        sum[n].lo *= keep.v[n / 4u][n % 4u];
        sum[n].hi *= keep.v[n / 4u][n % 4u];
      }
      if (share < SHARES) {
        for (var key = share; key < KEYS && base + key <= last; key += SHARES) {
          let at = base + key;
          let block = batch[run.table + at / BLOCK_TOKENS * KV_GROUPS + KV_GROUP];
          let v = load_value(((block * KV_HEADS + kv_head) * BLOCK_TOKENS + at % BLOCK_TOKENS) * EIGHTS + eight);
          let p = scores[key];
          for (var n = 0u; n < QUERIES; n++) {
            sum[n].lo = fma(vec4(p.v[n / 4u][n % 4u]), v.lo, sum[n].lo);
            sum[n].hi = fma(vec4(p.v[n / 4u][n % 4u]), v.hi, sum[n].hi);
          }
        }
      }
      workgroupBarrier();
    }
    next = run_end;
  }

  let all = sum_of_all(lane, total);
  for (var n = 0u; n < QUERIES; n++) {
    sums[lane] = sum[n];
    workgroupBarrier();
    let token = first_token + n / QUERY_HEADS;
    if (lane < EIGHTS && token < end_token && head + n % QUERY_HEADS < group) {
      var sum_of_shares = sums[lane];
      for (var i = 1u; i < SHARES; i++) {
        sum_of_shares.lo += sums[lane + i * EIGHTS].lo;
        sum_of_shares.hi += sums[lane + i * EIGHTS].hi;
      }
      let row = token * HEADS + kv_head * group + head + n % QUERY_HEADS;
      let whole = all.v[n / 4u][n % 4u];
      if (part_count == 1u) {
        y[(row * EIGHTS + lane) * 2u] = sum_of_shares.lo / whole;
        y[(row * EIGHTS + lane) * 2u + 1u] = sum_of_shares.hi / whole;
      } else {
        let at = (row * part_count + part) * (EIGHTS * 2u + 1u);
        parts[at + lane * 2u] = sum_of_shares.lo;
        parts[at + lane * 2u + 1u] = sum_of_shares.hi;
        if (lane == 0u) { parts[at + EIGHTS * 2u] = vec4(most.v[n / 4u][n % 4u], whole, 0.0, 0.0); }
      }
    }
    workgroupBarrier();
  }
}
