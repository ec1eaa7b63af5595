// What the sampling kernels share: the options of the rows to sample, from the step's metadata
// (16 words a row, engine/run/step_metadata.ts), and the logits.
struct Sampler {
  slot: u32, row: u32, position: u32, seed: u32,
  temperature: f32, top_k: u32, top_p: f32, min_p: f32,
  penalty: f32, recent: u32, biases: u32, bias_offset: u32,
}

override VOCABULARY: u32;
override LANES: u32;

fn sampler_at(i: u32) -> Sampler {
  let o = batch[4] + i * 16u;
  return Sampler(batch[o], batch[o + 1u], batch[o + 2u], batch[o + 3u],
    bitcast<f32>(batch[o + 4u]), batch[o + 5u], bitcast<f32>(batch[o + 6u]), bitcast<f32>(batch[o + 7u]),
    bitcast<f32>(batch[o + 8u]), batch[o + 9u], batch[o + 10u], batch[o + 11u]);
}
