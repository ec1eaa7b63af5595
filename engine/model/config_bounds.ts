/** Bounds far above any published model. A file with a larger number is damaged. */

export const MAX_LAYERS = 1024;
export const MAX_HEADS = 1024;
export const MAX_EXPERTS = 1024;
export const MAX_HEAD_DIM = 1024;
/** Number of tokens that a convolution sees. */
export const MAX_TAPS = 16;
export const MAX_WIDTH = 2 ** 20;
export const MAX_CONTEXT = 2 ** 27;
