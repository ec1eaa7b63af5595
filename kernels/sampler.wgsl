// What the sampling kernels share: the options of the rows to sample, from the step's metadata
// (16 words a row, engine/run/step_metadata.ts), and the order of logits and draws.
struct Sampler {
  slot: u32, row: u32, position: u32, seed: u32,
  temperature: f32, top_k: u32, top_p: f32, min_p: f32,
  penalty: f32, recent: u32, biases: u32, bias_offset: u32,
}

override VOCABULARY: u32;
override LANES: u32;

// Loops over lanes and chunks begin at a lane's number, so that no compiler writes them out.

// A row's counters: of each bin of logits the number and the mass, then how many ids are listed.
const MASSES = 256u;
const COUNTERS = 513u;
// A mass of 1 in the counters: so many sum to less than 2^32 in a vocabulary of 2^19.
const MASS_UNIT = 8192.0;

fn sampler_at(i: u32) -> Sampler {
  let o = batch[4] + i * 16u;
  return Sampler(batch[o], batch[o + 1u], batch[o + 2u], batch[o + 3u],
    bitcast<f32>(batch[o + 4u]), batch[o + 5u], bitcast<f32>(batch[o + 6u]), bitcast<f32>(batch[o + 7u]),
    bitcast<f32>(batch[o + 8u]), batch[o + 9u], batch[o + 10u], batch[o + 11u]);
}

// Whether a threshold must be found for the row.
fn cuts(s: Sampler) -> bool {
  return s.temperature > 0.0 && ((s.top_k > 0u && s.top_k < VOCABULARY) || s.top_p < 1.0);
}

// Bins are half a unit wide, from −64 to 64; the outermost have what lies beyond.
fn bin_of(logit: f32) -> u32 {
  return u32(clamp(floor(logit * 2.0) + 128.0, 0.0, 255.0));
}

fn upper_edge(bin: u32) -> f32 {
  return (f32(bin) - 127.0) * 0.5;
}

// (bits of the highest, id, bits of Σ exp(logit − highest)) of two parts of a row.
fn joined(a: vec4<u32>, b: vec4<u32>) -> vec3<u32> {
  let x = bitcast<f32>(a.x);
  let y = bitcast<f32>(b.x);
  let most = max(x, y);
  let sum = bitcast<f32>(a.z) * exp(x - most) + bitcast<f32>(b.z) * exp(y - most);
  return vec3(bitcast<u32>(most), select(a.y, b.y, y > x || (y == x && b.y < a.y)), bitcast<u32>(sum));
}
