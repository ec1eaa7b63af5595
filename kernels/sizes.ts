/** Sizes that the kernels define as constants and that the engine needs too. */

/** Tokens per block of the paged KV cache: BLOCK_TOKENS in the kernels. */
export const BLOCK_TOKENS = 16;

/** Default number of a sequence's last tokens that the repeat penalty applies to. */
export const REPEAT_WINDOW = 64;

/** The most tokens that the repeat penalty can apply to: HISTORY in the sampling kernels. */
export const REPEAT_HISTORY = 1024;

/** The most tokens of one step on any device. */
export const MOST_BATCH_TOKENS = 512;

/** Element type of the KV cache. */
export type KvType = "f16" | "f32";

/** Bytes of an element of the KV cache. */
export const KV_BYTES = { f16: 2, f32: 4 } as const;
