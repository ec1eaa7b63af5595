// Adds the logit biases. Then applies the repeat penalty once to each distinct recent token:
// divides positive logits by it and multiplies negative ones. One workgroup per row to sample.
const HISTORY = 1024u;  // REPEAT_HISTORY of sizes.ts

@group(0) @binding(0) var<storage, read_write> logits: array<f32>;  // [row, VOCABULARY]
@group(0) @binding(1) var<storage, read> history: array<u32>;       // [slot, position % HISTORY]
@group(0) @binding(2) var<storage, read> batch: array<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let s = sampler_at(workgroup.x);
  let base = s.row * VOCABULARY;
  for (var i = lane; i < s.biases; i += LANES) {
    let o = s.bias_offset + i * 2u;
    logits[base + batch[o]] += bitcast<f32>(batch[o + 1u]);
  }
  storageBarrier();
  if (s.penalty == 1.0) { return; }
  for (var i = lane; i < s.recent; i += LANES) {
    let id = history[s.slot * HISTORY + (s.position - 1u - i) % HISTORY];
    var first = true;
    for (var j = 0u; j < i; j++) {
      if (history[s.slot * HISTORY + (s.position - 1u - j) % HISTORY] == id) { first = false; }
    }
    if (first) {
      let logit = logits[base + id];
      logits[base + id] = select(logit * s.penalty, logit / s.penalty, logit > 0.0);
    }
  }
}
