// Reads each chunk of a row of logits once. Finds the highest logit, the lowest id that has it, and
// Σ exp(logit − highest). The result is (bits of the highest, id, bits of the sum, 1 if a logit is
// NaN). It is stored as integers, because an id would be a denormal float, which a GPU may flush to
// zero. If top-k or top-p is on, also adds to a histogram of the row: for each bin, the number of
// logits and Σ exp(logit − upper edge of the bin).
override CHUNK: u32;  // logits per workgroup

@group(0) @binding(0) var<storage, read> logits: array<f32>;                   // [row, VOCABULARY]
@group(0) @binding(1) var<storage, read_write> chunks: array<vec4<u32>>;       // [sampler, chunk]
@group(0) @binding(2) var<storage, read> batch: array<u32>;
@group(0) @binding(3) var<storage, read_write> counters: array<atomic<u32>>;  // [sampler, COUNTERS]

var<workgroup> best: array<vec4<u32>, LANES>;
var<workgroup> bins: array<atomic<u32>, MASSES>;
var<workgroup> masses: array<atomic<u32>, MASSES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32) {
  let s = sampler_at(workgroup.y);
  let base = s.row * VOCABULARY;
  let first = workgroup.x * CHUNK;
  let end = min(first + CHUNK, VOCABULARY);
  let filtered = cuts(s);
  var most = -3.4e38;
  var sum = 0.0;
  var id = 0u;
  var bad = 0u;
  for (var i = first + lane; i < end; i += LANES) {
    let logit = logits[base + i];
    if ((bitcast<u32>(logit) & 0x7fffffffu) > 0x7f800000u) { bad = 1u; }
    if (s.temperature > 0.0) {
      let share = exp(-abs(logit - most));
      sum = select(sum + share, sum * share + 1.0, logit > most);
    }
    if (logit > most) {
      most = logit;
      id = i;
    }
    if (filtered) {
      let bin = bin_of(logit);
      atomicAdd(&bins[bin], 1u);
      atomicAdd(&masses[bin], u32(min(exp(logit - upper_edge(bin)), 1.0) * MASS_UNIT));
    }
  }
  best[lane] = vec4(bitcast<u32>(most), id, bitcast<u32>(sum), bad);
  workgroupBarrier();
  if (filtered) {
    let row = workgroup.y * COUNTERS;
    for (var i = lane; i < MASSES; i += LANES) {
      let count = atomicLoad(&bins[i]);
      if (count > 0u) {
        atomicAdd(&counters[row + i], count);
        atomicAdd(&counters[row + MASSES + i], atomicLoad(&masses[i]));
      }
    }
  }
  if (lane == 0u) {
    var all = best[0];
    for (var i = lane + 1u; i < LANES; i++) {
      let other = best[i];
      all = vec4(joined(all, other), all.w | other.w);
    }
    chunks[workgroup.y * grid.x + workgroup.x] = all;
  }
}
