// Lists the ids of a row that the filters may keep, in the second and last reading of the logits: all
// in the bins that top-k (or else top-p) reach into, so a few more than are kept; sample_pick.wgsl
// looks at those alone. Without top-k and top-p each workgroup draws, and lists its winner.
override CHUNK: u32;   // logits a workgroup reads
override CHUNKS: u32;  // chunks a row

@group(0) @binding(0) var<storage, read> logits: array<f32>;                   // [row, VOCABULARY]
@group(0) @binding(1) var<storage, read> chunks: array<vec4<u32>>;             // [sampler, CHUNKS], as sample_chunks.wgsl leaves them
@group(0) @binding(2) var<storage, read> batch: array<u32>;
@group(0) @binding(3) var<storage, read_write> counters: array<atomic<u32>>;  // [sampler, COUNTERS]
@group(0) @binding(4) var<storage, read_write> kept: array<u32>;              // [sampler, VOCABULARY]: ids, in any order

var<workgroup> bins: array<vec2<u32>, MASSES>;
var<workgroup> whole: vec4<u32>;       // of all chunks
var<workgroup> lowest: u32;             // the lowest bin that is kept
var<workgroup> draws: array<vec2<u32>, LANES>;

// The lowest bin that may hold what is kept. What top-p cuts from what top-k keeps is seen later, as
// its share is of what top-k keeps. The masses in the bins are rounded down, hence the margin.
fn lowest_bin(s: Sampler, most: f32, total: f32) -> u32 {
  let by_count = s.top_k > 0u && s.top_k < VOCABULARY;
  var count = 0u;
  var mass = 0.0;
  for (var bin = bin_of(most); bin > 0u; bin--) {
    count += bins[bin].x;
    mass += f32(bins[bin].y) / MASS_UNIT * exp(upper_edge(bin) - most);
    if (by_count) {
      if (count >= s.top_k) { return bin; }
    } else if (count > 0u && mass >= s.top_p * total * 1.001) {
      return bin;
    }
  }
  return 0u;
}

// Few are kept, so a list in workgroup memory first would not pay; OpenGL takes half a minute for one.
fn keep(row: u32, id: u32) {
  kept[row * VOCABULARY + atomicAdd(&counters[row * COUNTERS + 2u * MASSES], 1u)] = id;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let s = sampler_at(workgroup.y);
  if (s.temperature == 0.0) { return; }
  let base = s.row * VOCABULARY;
  let row = workgroup.y * COUNTERS;
  let first = workgroup.x * CHUNK;
  let end = min(first + CHUNK, VOCABULARY);
  if (lane == 0u) {
    var sum = chunks[workgroup.y * CHUNKS];
    for (var i = lane + 1u; i < CHUNKS; i++) { sum = vec4(joined(sum, chunks[workgroup.y * CHUNKS + i]), 0u); }
    whole = sum;
  }
  workgroupBarrier();
  let all = whole;
  let most = bitcast<f32>(all.x);
  if (cuts(s)) {
    for (var i = lane; i < MASSES; i += LANES) {
      bins[i] = vec2(atomicLoad(&counters[row + i]), atomicLoad(&counters[row + MASSES + i]));
    }
    workgroupBarrier();
    if (lane == 0u) {
      lowest = lowest_bin(s, most, bitcast<f32>(all.z));
    }
    workgroupBarrier();
    for (var i = first + lane; i < end; i += LANES) {
      if (bin_of(logits[base + i]) >= lowest) { keep(workgroup.y, i); }
    }
  } else {
    let noise = draw_key(s.seed, s.position);
    let floor = min_p_key(s, most);
    var best = vec2(bitcast<u32>(-3.4e38), all.y);
    for (var i = first + lane; i < end; i += LANES) {
      let logit = logits[base + i];
      if (order_key(logit) >= floor) { best = better(best, vec2(bitcast<u32>(drawn(s, noise, logit, i)), i)); }
    }
    draws[lane] = best;
    workgroupBarrier();
    if (lane == 0u) {
      for (var i = lane + 1u; i < LANES; i++) { best = better(best, draws[i]); }
      keep(workgroup.y, best.y);
    }
  }
}
