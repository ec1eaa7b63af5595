// The step's sequences, for kernels that go through each one's tokens in order; after step.wgsl.
// batch[7] is the offset of: first token, how many, slot, and the position of the first.
struct Sequence { first: u32, count: u32, slot: u32, start: u32 }

fn sequence_at(i: u32) -> Sequence {
  let o = batch[7] + i * 4u;
  return Sequence(batch[o], batch[o + 1u], batch[o + 2u], batch[o + 3u]);
}
