// The step's metadata, bound as `batch`. engine/gpu/step_metadata.ts writes one region per step:
// [0] number of tokens
// [1] number of logit rows
// [2] number of sampled rows
// [3] offset of the logit rows
// [4] offset of the samplers
// [5] where the sampled ids are stored
// [6] number of workgroups that share a token's positions
// [7] offset of the sequences (sequences.wgsl)
// From word 8, four words per token: id (or FEEDBACK), position, slot, offset of its block table.
struct Token { id: u32, position: u32, slot: u32, table: u32 }

fn token_at(i: u32) -> Token {
  let o = 8u + i * 4u;
  return Token(batch[o], batch[o + 1u], batch[o + 2u], batch[o + 3u]);
}
