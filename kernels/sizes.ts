/** Sizes that kernels have as constants and that the engine counts by. */

/** Tokens per block of the paged KV cache: BLOCK_TOKENS of attention.wgsl and rope_append.wgsl. */
export const BLOCK_TOKENS = 16;

/** How many of a sequence's last tokens the repeat penalty looks at unless it is told otherwise. */
export const REPEAT_WINDOW = 64;

/** How many it can look at: HISTORY of the samplers' WGSL. */
export const REPEAT_HISTORY = 1024;
