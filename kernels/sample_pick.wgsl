// Chooses each row's token: the best one, or, at a temperature, a draw among those that top-k,
// top-p and min-p keep. Each filter is a threshold on the logit, found by a radix search over
// the order-preserving bits of the floats; the draw is the Gumbel-max trick, so that one pass over
// the logits needs no sum. engine/run/sampler.ts is the same in TypeScript.
override CHUNKS: u32;  // chunks a row
const WINDOW = 64u;
const INVALID = 0xffffffffu;

@group(0) @binding(0) var<storage, read> logits: array<f32>;         // [row, VOCABULARY]
@group(0) @binding(1) var<storage, read> chunks: array<vec4<u32>>;   // [sampler, CHUNKS], as sample_chunks.wgsl leaves them
@group(0) @binding(2) var<storage, read> batch: array<u32>;
@group(0) @binding(3) var<storage, read_write> last: array<u32>;     // [slot]
@group(0) @binding(4) var<storage, read_write> history: array<u32>;  // [slot, position % WINDOW]
@group(0) @binding(5) var<storage, read_write> sampled: array<u32>;  // [step, sampler]

var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> chosen: vec2<u32>;  // the bin, and what is left to find in it
var<workgroup> draws: array<vec2<u32>, LANES>;  // bits of the best draw, its id

// Orders like the float.
fn order_key(logit: f32) -> u32 {
  let bits = bitcast<u32>(logit);
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// The share of probability of a logit, in units of 2^-30; `total` is Σ exp(logit − most).
fn mass(logit: f32, most: f32, total: f32) -> u32 {
  return u32(exp(logit - most) / total * 1073741824.0);
}

// The highest key such that the logits at or above it number (or, by mass, weigh) at least
// `target`, of those at or above `floor`.
fn threshold(base: u32, lane: u32, target_: u32, by_mass: bool, floor: u32, most: f32, total: f32) -> u32 {
  var prefix = 0u;
  var left = target_;
  for (var shift = 24i; shift >= 0i; shift -= 8i) {
    for (var i = lane; i < 256u; i += LANES) { atomicStore(&bins[i], 0u); }
    workgroupBarrier();
    for (var i = lane; i < VOCABULARY; i += LANES) {
      let logit = logits[base + i];
      let key = order_key(logit);
      // Bits above this digit must match the digits chosen so far.
      let same = shift == 24i || (key >> u32(shift + 8i)) == (prefix >> u32(shift + 8i));
      if (key >= floor && same) {
        var weight = 1u;
        if (by_mass) { weight = mass(logit, most, total); }
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

// The total mass at or above `floor`.
fn kept_mass(base: u32, lane: u32, floor: u32, most: f32, total: f32) -> u32 {
  if (lane == 0u) { atomicStore(&bins[0], 0u); }
  workgroupBarrier();
  var sum = 0u;
  for (var i = lane; i < VOCABULARY; i += LANES) {
    let logit = logits[base + i];
    if (order_key(logit) >= floor) { sum += mass(logit, most, total); }
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
  let base = s.row * VOCABULARY;
  var most = -3.4e38;
  var id = 0u;
  var bad = 0u;
  for (var i = 0u; i < CHUNKS; i++) {
    let c = chunks[workgroup.x * CHUNKS + i];
    let logit = bitcast<f32>(c.x);
    if (logit > most) {
      most = logit;
      id = c.y;
    }
    bad |= c.w;
  }
  if (s.temperature > 0.0) {
    var total = 0.0;
    for (var i = 0u; i < CHUNKS; i++) {
      let c = chunks[workgroup.x * CHUNKS + i];
      total += bitcast<f32>(c.z) * exp(bitcast<f32>(c.x) - most);
    }
    var floor = 0u;
    if (s.top_k > 0u && s.top_k < VOCABULARY) {
      floor = threshold(base, lane, s.top_k, false, 0u, most, total);
    }
    if (s.top_p < 1.0) {
      let kept = kept_mass(base, lane, floor, most, total);
      let target_ = max(1u, u32(f32(kept) * s.top_p));
      floor = threshold(base, lane, target_, true, floor, most, total);
    }
    if (s.min_p > 0.0) { floor = max(floor, order_key(most + log(s.min_p))); }
    let noise = draw_key(s.seed, s.position);
    var best = -3.4e38;
    for (var i = lane; i < VOCABULARY; i += LANES) {
      let logit = logits[base + i];
      if (order_key(logit) >= floor) {
        let draw = logit / s.temperature + gumbel(noise, i);
        if (draw > best) {
          best = draw;
          id = i;
        }
      }
    }
    draws[lane] = vec2(bitcast<u32>(best), id);
    workgroupBarrier();
    for (var i = 0u; i < LANES; i++) {
      let other = draws[i];
      let draw = bitcast<f32>(other.x);
      if (draw > best || (draw == best && other.y < id)) {
        best = draw;
        id = other.y;
      }
    }
  }
  if (lane == 0u) {
    last[s.slot] = id;
    history[s.slot * WINDOW + s.position % WINDOW] = id;
    sampled[batch[5] + workgroup.x] = select(id, INVALID, bad != 0u);
  }
}
