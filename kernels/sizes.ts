/** Sizes that kernels have as constants and that the engine counts by. */

/** Tokens per block of the paged KV cache: BLOCK_TOKENS of attention.wgsl and rope_append.wgsl. */
export const BLOCK_TOKENS = 16;

/** How many of a sequence's last tokens the repeat penalty looks at unless it is told otherwise. */
export const REPEAT_WINDOW = 64;

/** How many it can look at: HISTORY of the samplers' WGSL. */
export const REPEAT_HISTORY = 1024;

/** Tokens that enter in one step on any device. */
export const MOST_BATCH_TOKENS = 512;

/** Element type of the KV cache. */
export type KvType = "f16" | "f32";

/** Bytes of an element of the KV cache. */
export const KV_BYTES = { f16: 2, f32: 4 } as const;
