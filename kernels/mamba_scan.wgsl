// Mamba-2: each token of a sequence updates the state of each value head, a matrix, and then reads
// it. A workgroup processes ROWS rows of a head's matrix and keeps them in registers from token to
// token. PARTS lanes share a row; each has VECTORS vectors of its columns.
override KEY_HEADS: u32;
override VALUE_HEADS: u32;
override LANES: u32;
const KEY_VECTORS = PARTS * VECTORS;
const KEY_DIM = 4u * KEY_VECTORS;
override ROWS = LANES / PARTS;

@group(0) @binding(0) var<storage, read> inputs: array<vec4<f32>>;  // [token, values + keys + queries]
@group(0) @binding(1) var<storage, read> steps: array<f32>;         // [token, VALUE_HEADS]
@group(0) @binding(2) var<storage, read> rates: array<f32>;         // [2, VALUE_HEADS]: decays, skips
@group(0) @binding(4) var<storage, read_write> out: array<f32>;     // [token, VALUE_HEADS, VALUE_DIM]
@group(0) @binding(5) var<storage, read> batch: array<u32>;

var<workgroup> keys: array<vec4<f32>, KEY_VECTORS>;
var<workgroup> queries: array<vec4<f32>, KEY_VECTORS>;
var<workgroup> sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let groups = (VALUE_DIM + ROWS - 1u) / ROWS;
  let head = workgroup.x / groups;
  // Invocations past the last row still run (barriers need them); their results are discarded.
  let row = workgroup.x % groups * ROWS + lane % ROWS;
  let first = lane / ROWS * VECTORS;
  let used = row < VALUE_DIM;
  let own = min(row, VALUE_DIM - 1u);
  let key_head = head / (VALUE_HEADS / KEY_HEADS);
  let sequence = sequence_at(workgroup.y);
  let base = ((sequence.slot * VALUE_HEADS + head) * KEY_DIM + 4u * first) * VALUE_DIM + own;
  var state = load_state(base, sequence.start == 0u);
  let values = VALUE_HEADS * VALUE_DIM / 4u;
  let width = values + 2u * KEY_HEADS * KEY_VECTORS;
  let element = head * VALUE_DIM + own;
  let end = sequence.first + sequence.count;
  for (var token = sequence.first; token < end; token++) {
    let start = token * width;
    workgroupBarrier();
    for (var i = lane; i < KEY_VECTORS; i += LANES) {
      keys[i] = inputs[start + values + key_head * KEY_VECTORS + i];
      queries[i] = inputs[start + values + (KEY_HEADS + key_head) * KEY_VECTORS + i];
    }
    workgroupBarrier();
    let value = inputs[start + element / 4u][element % 4u];
    let step = steps[token * VALUE_HEADS + head];
    let softplus = max(step, 0.0) + log(1.0 + exp(-abs(step)));
    let keep = exp(rates[head] * softplus);
    let change = value * softplus;
    var read = vec4(0.0);
    for (var i = 0u; i < VECTORS; i++) {
      let changed = state[i] * keep + change * keys[first + i];
      state[i] = changed;
      read += changed * queries[first + i];
    }
    sums[lane] = dot(read, vec4(1.0));
    workgroupBarrier();
    if (used && first == 0u) {
      var total = rates[VALUE_HEADS + head] * value;
      for (var i = 0u; i < PARTS; i++) { total += sums[lane + i * ROWS]; }
      out[token * VALUE_HEADS * VALUE_DIM + element] = total;
    }
  }
  if (used) { store_state(base, state); }
}
