// The step's sequences, for kernels that process the tokens of each sequence in order. Follows
// step.wgsl. batch[7] is the offset of the sequences, four words each: first token, number of
// tokens, slot, and position of the first token.
struct Sequence { first: u32, count: u32, slot: u32, start: u32 }

fn sequence_at(i: u32) -> Sequence {
  let o = batch[7] + i * 4u;
  return Sequence(batch[o], batch[o + 1u], batch[o + 2u], batch[o + 3u]);
}
