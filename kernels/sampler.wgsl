// Shared by the sampling kernels: the options of each row to sample, from the step's metadata (16
// words per row, engine/gpu/step_metadata.ts), the histogram of a row, and the merging of chunks.
struct Sampler {
  slot: u32, row: u32, position: u32, seed: u32,
  temperature: f32, top_k: u32, top_p: f32, min_p: f32,
  penalty: f32, recent: u32, biases: u32, bias_offset: u32,
}

override VOCABULARY: u32;
override LANES: u32;

// Loops over lanes and chunks start at `lane + 1` (`lane` is 0) instead of 1, so that no compiler
// unrolls them.

// The counters of a row: the number of logits in each bin, the mass of each bin, then the number of
// listed ids.
const MASSES = 256u;
const COUNTERS = 513u;
// A mass of 1 in the counters. Sums over a vocabulary of up to 2^19 stay below 2^32.
const MASS_UNIT = 8192.0;

fn sampler_at(i: u32) -> Sampler {
  let o = batch[4] + i * 16u;
  return Sampler(batch[o], batch[o + 1u], batch[o + 2u], batch[o + 3u],
    bitcast<f32>(batch[o + 4u]), batch[o + 5u], bitcast<f32>(batch[o + 6u]), bitcast<f32>(batch[o + 7u]),
    bitcast<f32>(batch[o + 8u]), batch[o + 9u], batch[o + 10u], batch[o + 11u]);
}

// Returns whether top-k or top-p needs a threshold for the row.
fn cuts(s: Sampler) -> bool {
  return s.temperature > 0.0 && ((s.top_k > 0u && s.top_k < VOCABULARY) || s.top_p < 1.0);
}

// Bins are 0.5 wide, from −64 to 64; the outermost bins include all logits beyond.
fn bin_of(logit: f32) -> u32 {
  return u32(clamp(floor(logit * 2.0) + 128.0, 0.0, 255.0));
}

fn upper_edge(bin: u32) -> f32 {
  return (f32(bin) - 127.0) * 0.5;
}

// Merges two parts of a row, each (bits of the highest, id, bits of Σ exp(logit − highest)).
fn joined(a: vec4<u32>, b: vec4<u32>) -> vec3<u32> {
  let x = bitcast<f32>(a.x);
  let y = bitcast<f32>(b.x);
  let most = max(x, y);
  let sum = bitcast<f32>(a.z) * exp(x - most) + bitcast<f32>(b.z) * exp(y - most);
  return vec3(bitcast<u32>(most), select(a.y, b.y, y > x || (y == x && b.y < a.y)), bitcast<u32>(sum));
}
