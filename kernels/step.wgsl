// The step's metadata (engine/gpu/step_metadata.ts writes it, one region a step), bound as `batch`:
// [0] tokens  [1] logit rows  [2] sampled rows  [3] offset of the logit rows  [4] of the samplers
// [5] where the sampled ids go  [6] workgroups that share a token's positions
// [7] offset of the sequences (sequences.wgsl); from word 8 on, per token: id (or FEEDBACK), position, slot, and the
// offset of its block table.
struct Token { id: u32, position: u32, slot: u32, table: u32 }

fn token_at(i: u32) -> Token {
  let o = 8u + i * 4u;
  return Token(batch[o], batch[o + 1u], batch[o + 2u], batch[o + 3u]);
}
