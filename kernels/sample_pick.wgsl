// Chooses the token of each row: the best one or, at a temperature above 0, a draw among the tokens
// of sample_keep.wgsl's list that top-k, top-p and min-p keep. Each filter is a threshold on the
// logit. The thresholds of top-k and top-p are found by a radix search over the order-preserving
// bits of the floats. The draw uses the Gumbel-max trick, which needs no sum. engine/run/sampler.ts
// does the same in TypeScript.
override CHUNKS: u32;  // chunks per row
const HISTORY = 1024u;
const INVALID = 0xffffffffu;

@group(0) @binding(0) var<storage, read> logits: array<f32>;                   // [row, VOCABULARY]
// [sampler, CHUNKS], from sample_chunks.wgsl
@group(0) @binding(1) var<storage, read> chunks: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> batch: array<u32>;
// [sampler, COUNTERS]; reset to zero for the next step
@group(0) @binding(3) var<storage, read_write> counters: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read> kept: array<u32>;                     // [sampler, VOCABULARY]
@group(0) @binding(5) var<storage, read_write> last: array<u32>;               // [slot]
@group(0) @binding(6) var<storage, read_write> history: array<u32>;            // [slot, position % HISTORY]
@group(0) @binding(7) var<storage, read_write> sampled: array<u32>;            // [step, sampler]

var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> chosen: vec2<u32>;  // the bin, and the count or mass still to be found in it
var<workgroup> whole_row: vec4<u32>;  // result of all chunks, as in `chunks`
var<workgroup> draws: array<vec2<u32>, LANES>;

// The listed part of a row, and the data for its probabilities.
struct Row {
  base: u32,   // start of its logits
  list: u32,   // start of its ids in `kept`
  count: u32,  // number of these ids
  most: f32,   // highest logit
  total: f32,  // Σ exp(logit − most) over the whole row
}

// The total probability of a row, 1, in units of `mass`.
const WHOLE = 1073741824u;

// Returns the probability of a logit, in units of 2^-30.
fn mass(row: Row, logit: f32) -> u32 {
  return u32(exp(logit - row.most) / row.total * f32(WHOLE));
}

// Returns the highest key such that, among the logits at or above `floor`, those at or above the
// key number at least `target_` or, if `by_mass`, have at least this mass.
fn threshold(row: Row, lane: u32, target_: u32, by_mass: bool, floor: u32) -> u32 {
  var prefix = 0u;
  var left = target_;
  for (var shift = 24i; shift >= 0i; shift -= 8i) {
    for (var i = lane; i < 256u; i += LANES) { atomicStore(&bins[i], 0u); }
    workgroupBarrier();
    for (var i = lane; i < row.count; i += LANES) {
      let logit = logits[row.base + kept[row.list + i]];
      let key = order_key(logit);
      // Bits above this digit must match the digits chosen so far.
      let same = shift == 24i || (key >> u32(shift + 8i)) == (prefix >> u32(shift + 8i));
      if (key >= floor && same) {
        var weight = 1u;
        if (by_mass) { weight = mass(row, logit); }
        if (weight > 0u) { atomicAdd(&bins[(key >> u32(shift)) & 255u], weight); }
      }
    }
    workgroupBarrier();
    if (lane == 0u) {
      var bin = 255u;
      var above = 0u;
      for (; bin > 0u; bin--) {
        let here = atomicLoad(&bins[bin]);
        if (above + here >= left) { break; }
        above += here;
      }
      chosen = vec2(bin, left - above);
    }
    workgroupBarrier();
    prefix |= chosen.x << u32(shift);
    left = chosen.y;
    workgroupBarrier();
  }
  return prefix;
}

// Returns the total mass of the logits at or above `floor`.
fn kept_mass(row: Row, lane: u32, floor: u32) -> u32 {
  if (lane == 0u) { atomicStore(&bins[0], 0u); }
  workgroupBarrier();
  var sum = 0u;
  for (var i = lane; i < row.count; i += LANES) {
    let logit = logits[row.base + kept[row.list + i]];
    if (order_key(logit) >= floor) { sum += mass(row, logit); }
  }
  atomicAdd(&bins[0], sum);
  workgroupBarrier();
  let all = atomicLoad(&bins[0]);
  workgroupBarrier();
  return all;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let s = sampler_at(workgroup.x);
  let counter = workgroup.x * COUNTERS;
  if (lane == 0u) {
    var sum = chunks[workgroup.x * CHUNKS];
    for (var i = lane + 1u; i < CHUNKS; i++) {
      let chunk = chunks[workgroup.x * CHUNKS + i];
      sum = vec4(joined(sum, chunk), sum.w | chunk.w);
    }
    whole_row = sum;
  }
  workgroupBarrier();
  let all = whole_row;
  let most = bitcast<f32>(all.x);
  var id = all.y;
  if (s.temperature > 0.0) {
    let row = Row(s.row * VOCABULARY, workgroup.x * VOCABULARY,
      atomicLoad(&counters[counter + 2u * MASSES]), most, bitcast<f32>(all.z));
    var floor = 0u;
    var whole = WHOLE;
    if (s.top_k > 0u && s.top_k < VOCABULARY) {
      floor = threshold(row, lane, s.top_k, false, 0u);
      whole = kept_mass(row, lane, floor);
    }
    if (s.top_p < 1.0) {
      let target_ = max(1u, u32(f32(whole) * s.top_p));
      floor = threshold(row, lane, target_, true, floor);
    }
    floor = max(floor, min_p_key(s, most));
    let noise = draw_key(s.seed, s.position);
    var best = vec2(bitcast<u32>(-3.4e38), id);
    for (var i = lane; i < row.count; i += LANES) {
      let one = kept[row.list + i];
      let logit = logits[row.base + one];
      if (order_key(logit) >= floor) { best = better(best, vec2(bitcast<u32>(drawn(s, noise, logit, one)), one)); }
    }
    draws[lane] = best;
    workgroupBarrier();
    if (lane == 0u) {
      for (var i = lane + 1u; i < LANES; i++) { best = better(best, draws[i]); }
      id = best.y;
    }
    for (var i = lane; i < COUNTERS; i += LANES) { atomicStore(&counters[counter + i], 0u); }
  }
  if (lane == 0u) {
    last[s.slot] = id;
    history[s.slot * HISTORY + s.position % HISTORY] = id;
    sampled[batch[5] + workgroup.x] = select(id, INVALID, all.w != 0u);
  }
}
