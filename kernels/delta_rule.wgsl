// The gated delta rule: each token of a sequence updates the state of each value head, a matrix,
// and then reads it. A workgroup processes ROWS rows of a head's matrix and keeps them in registers
// from token to token. PARTS lanes share a row; each has VECTORS vectors of its columns.
override KEY_HEADS: u32;
override VALUE_HEADS: u32;
// Value head h uses key head h mod KEY_HEADS; otherwise runs of value heads share a key head.
override TILED: bool;
override LANES: u32;
// Added to the sum of squares of a query or key, whose square root then divides the vector.
const EPSILON = 1e-6;
const KEY_VECTORS = PARTS * VECTORS;
const KEY_DIM = 4u * KEY_VECTORS;
override ROWS = LANES / PARTS;

@group(0) @binding(0) var<storage, read> inputs: array<vec4<f32>>;  // [token, queries + keys + values]
// [token, 2, VALUE_HEADS]: steps, strengths
@group(0) @binding(1) var<storage, read> steps: array<f32>;
@group(0) @binding(2) var<storage, read> decays: array<f32>;        // [VALUE_HEADS]
@group(0) @binding(4) var<storage, read_write> out: array<f32>;     // [token, VALUE_HEADS, VALUE_DIM]
@group(0) @binding(5) var<storage, read> batch: array<u32>;

var<workgroup> queries: array<vec4<f32>, KEY_VECTORS>;
var<workgroup> keys: array<vec4<f32>, KEY_VECTORS>;
var<workgroup> sums: array<vec2<f32>, LANES>;

// Returns the sums over the lanes of a row.
fn row_sums(own: vec2<f32>, lane: u32) -> vec2<f32> {
  sums[lane] = own;
  workgroupBarrier();
  var total = vec2(0.0);
  for (var i = 0u; i < PARTS; i++) { total += sums[lane % ROWS + i * ROWS]; }
  workgroupBarrier();
  return total;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let groups = (VALUE_DIM + ROWS - 1u) / ROWS;
  let head = workgroup.x / groups;
  // Invocations past the last row still run (barriers need them); their results are discarded.
  let row = workgroup.x % groups * ROWS + lane % ROWS;
  let first = lane / ROWS * VECTORS;
  let used = row < VALUE_DIM;
  let own = min(row, VALUE_DIM - 1u);
  var key_head = head / (VALUE_HEADS / KEY_HEADS);
  if (TILED) { key_head = head % KEY_HEADS; }
  let sequence = sequence_at(workgroup.y);
  let base = ((sequence.slot * VALUE_HEADS + head) * KEY_DIM + 4u * first) * VALUE_DIM + own;
  var state = load_state(base, sequence.start == 0u);
  let width = 2u * KEY_HEADS * KEY_VECTORS + VALUE_HEADS * VALUE_DIM / 4u;
  let end = sequence.first + sequence.count;
  for (var token = sequence.first; token < end; token++) {
    let start = token * width;
    workgroupBarrier();
    for (var i = lane; i < KEY_VECTORS; i += LANES) {
      queries[i] = inputs[start + key_head * KEY_VECTORS + i];
      keys[i] = inputs[start + (KEY_HEADS + key_head) * KEY_VECTORS + i];
    }
    workgroupBarrier();
    let element = head * VALUE_DIM + own;
    let value = inputs[start + 2u * KEY_HEADS * KEY_VECTORS + element / 4u][element % 4u];
    let step = steps[token * 2u * VALUE_HEADS + head];
    let softplus = max(step, 0.0) + log(1.0 + exp(-abs(step)));
    let keep = exp(decays[head] * softplus);
    let strength = 1.0 / (1.0 + exp(-steps[(token * 2u + 1u) * VALUE_HEADS + head]));
    var known = vec4(0.0);
    var key_squares = vec4(0.0);
    for (var i = 0u; i < VECTORS; i++) {
      let key = keys[first + i];
      let kept = state[i] * keep;
      state[i] = kept;
      known += kept * key;
      key_squares += key * key;
    }
    let of_key = row_sums(vec2(dot(known, vec4(1.0)), dot(key_squares, vec4(1.0))), lane);
    let key_scale = inverseSqrt(of_key.y + EPSILON);
    let change = (value - of_key.x * key_scale) * strength * key_scale;
    var read = vec4(0.0);
    var query_squares = vec4(0.0);
    for (var i = 0u; i < VECTORS; i++) {
      let query = queries[first + i];
      let changed = state[i] + change * keys[first + i];
      state[i] = changed;
      read += changed * query;
      query_squares += query * query;
    }
    let of_query = row_sums(vec2(dot(read, vec4(1.0)), dot(query_squares, vec4(1.0))), lane);
    let query_scale = inverseSqrt((of_query.y + EPSILON) * f32(KEY_DIM));
    if (used && first == 0u) { out[token * VALUE_HEADS * VALUE_DIM + element] = of_query.x * query_scale; }
  }
  if (used) { store_state(base, state); }
}
