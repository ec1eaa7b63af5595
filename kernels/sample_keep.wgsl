// Lists the ids of a row that the filters may keep. This is the second and last pass over all
// logits. It lists all ids in the bins that top-k (or top-p, if top-k is off) reaches, a few more
// than are kept; sample_pick.wgsl reads only those. Without top-k and top-p, each workgroup draws,
// and lists its winner.
override CHUNK: u32;   // logits per workgroup
override CHUNKS: u32;  // chunks per row

@group(0) @binding(0) var<storage, read> logits: array<f32>;                   // [row, VOCABULARY]
// [sampler, CHUNKS], from sample_chunks.wgsl
@group(0) @binding(1) var<storage, read> chunks: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> batch: array<u32>;
@group(0) @binding(3) var<storage, read_write> counters: array<atomic<u32>>;  // [sampler, COUNTERS]
// [sampler, VOCABULARY]: ids, in any order
@group(0) @binding(4) var<storage, read_write> kept: array<u32>;

var<workgroup> bins: array<vec2<u32>, MASSES>;
var<workgroup> whole: vec4<u32>;       // result of all chunks, as in `chunks`
var<workgroup> lowest: u32;             // the lowest bin whose ids are listed
var<workgroup> draws: array<vec2<u32>, LANES>;

// Returns the lowest bin that may contain kept logits. If top-k is on, top-p is not considered
// here: it is a share of what top-k keeps, and sample_pick.wgsl applies it. The masses in the bins
// are rounded down, hence the margin.
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

// Few ids are kept, so collecting them in workgroup memory first would not pay off. OpenGL's
// compiler also takes half a minute for such a list.
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
