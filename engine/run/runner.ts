/**
 * The one interface that every backend implements, and all that the scheduler and the
 * generation loop know of a device. A batch's metadata is an argument, never a global.
 */

import type { ModelConfig } from "../model/config.ts";
import type { Pause } from "./event_loop.ts";

export { BLOCK_TOKENS, REPEAT_HISTORY, REPEAT_WINDOW } from "../../kernels/sizes.ts";

/** Rows of logits that any runner can return of one step; each takes a vocabulary of floats. */
export const MOST_LOGIT_ROWS = 32;

/** Decode steps that one batch can chain. */
export const MOST_STEPS = 8;

/** Logit biases that one sequence can have; every runner has room for those of all its sequences. */
export const MOST_BIASES = 1024;

/** How a sequence's next token is chosen. Greedy is temperature 0. */
export interface SamplingOptions {
  /** 0 is greedy: the most probable token, of equals the one with the lowest id. */
  readonly temperature: number;
  /** Keep the k most probable tokens; 0 keeps all. */
  readonly topK: number;
  /** Keep the fewest tokens whose probabilities sum to at least this; 1 keeps all. */
  readonly topP: number;
  /** Keep tokens at least this fraction as probable as the best; 0 keeps all. */
  readonly minP: number;
  /** Divides positive and multiplies negative logits of the last `repeatWindow` tokens; 1 is off. */
  readonly repeatPenalty: number;
  /** At most REPEAT_HISTORY, 1,024; default REPEAT_WINDOW, 64. */
  readonly repeatWindow?: number;
  /** Added to the logits of these token ids, at most MOST_BIASES. */
  readonly logitBias?: ReadonlyMap<number, number>;
  /**
   * Same seed, same device: same text, whatever else runs; so a draw depends on the seed and the
   * token's position alone. An unsigned 32-bit integer.
   */
  readonly seed: number;
}

/** The most probable token each time, all filters off. */
export const GREEDY: SamplingOptions = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repeatPenalty: 1,
  seed: 0,
};

/** One sequence's share of a step. */
export interface BatchSequence {
  /** The runner's row for this sequence's last token and sampler state, in [0, maxSequences). */
  readonly slot: number;
  /**
   * The tokens that enter, at positions `start`, `start + 1`, …
   * `null`: one token, the one this slot sampled last, which need not have been read back.
   */
  readonly tokens: readonly number[] | null;
  /** Tokens of this sequence that are in the KV cache already. */
  readonly start: number;
  /**
   * Present on a sequence's first batch in its slot, where the runner forgets what the slot's last
   * sequence left: the tokens before `start`, which the prefix cache has, at most REPEAT_HISTORY.
   */
  readonly prior?: readonly number[];
  /**
   * For each group of layers (model/kv_groups.ts), the physical block of each BLOCK_TOKENS positions:
   * covers all positions that this batch writes or reads. Those that left a window may be anything.
   */
  readonly blockTables: readonly (readonly number[])[];
  /** Samples a token after the last one; absent where a prefill chunk ends before its prompt does. */
  readonly sampling?: SamplingOptions;
  /**
   * Returns the logits after each token that enters ("all"), or after the last one ("last"): the
   * model's own, before biases and penalties.
   */
  readonly logits?: "all" | "last";
}

/** How long a kernel ran, by the device's own clock. */
export interface KernelTime {
  /** The kernel, and what it is for. */
  readonly name: string;
  /** By the device's own clock. */
  readonly milliseconds: number;
}

/** Which dispatches are timed: each in a pass of its own, or all in one under the first one's name. */
export type Timing = "each" | "together";

/** When a step ran, by the host's clock: ms of performance.now(). */
export interface StepSpan {
  /** When the host began to hand it to the device, or to compute it. */
  readonly from: number;
  /** When the device had it; the same as `from` where the host computes. */
  readonly launched: number;
  /** When its results were there. */
  readonly to: number;
}

/** What one step on the device does. */
export interface Batch {
  /** Each in a slot of its own. */
  readonly sequences: readonly BatchSequence[];
  /**
   * Decode steps chained on the device, each feeding its tokens to the next; default 1, at most
   * MOST_STEPS. Above 1 every sequence must enter one token, sample, and want no logits.
   */
  readonly steps?: number;
  /** Times kernels, on a GPU that has timestamps. */
  readonly timing?: Timing;
  /** What is made for this step alone, and not used again; default nothing. */
  readonly anew?: { readonly weights: boolean; readonly buffers: boolean };
}

/** What a step produced, per sequence of the batch. */
export interface StepOutput {
  /** The sampled tokens in order: `steps` of them, or none where the sequence did not sample. */
  readonly tokens: readonly (readonly number[])[];
  /** Rows of `vocabSize` logits, for sequences that asked. */
  readonly logits: readonly (readonly Float32Array[])[];
  /** In the order they ran, if the batch asked. */
  readonly kernels?: readonly KernelTime[];
  /** When it ran, of backends that know. */
  readonly span?: StepSpan;
}

/** A step that was handed to the device and not yet read. */
export interface PendingStep {
  /** Waits for the step, and returns what it produced. Once. */
  read(): Promise<StepOutput>;
}

/** What runs the model, for reports. */
export interface RunnerDevice {
  /** A GPU through WebGPU, or the processor. */
  readonly kind: "gpu" | "cpu";
  /** The adapter's or processor's own description. */
  readonly description: string;
  /** Whether the driver of a GPU is one, or has the processor compute. */
  readonly driver: "hardware" | "software";
  /** How it runs there, as in "2 threads". */
  readonly detail?: string;
}

/** Sizes the runner was made with. */
export interface RunnerLimits {
  /** Blocks that the KV cache has now, by group of layers. */
  readonly blocks: readonly number[];
  /** Sequences that may be in one batch. */
  readonly maxSequences: number;
  /** Tokens that may enter in one batch, all sequences together. */
  readonly maxBatchTokens: number;
}

/** A block to copy to another in the layers of a group. */
export interface BlockCopy {
  /** Number of the group. */
  readonly group: number;
  /** The block that is read. */
  readonly from: number;
  /** The block that is written. */
  readonly to: number;
}

/** A loaded model on a device. */
export interface ModelRunner {
  /** The model's, its context length that of the longest sequence that the runner takes. */
  readonly config: ModelConfig;
  /** What runs it. */
  readonly device: RunnerDevice;
  /** What a batch may have. */
  readonly limits: RunnerLimits;
  /**
   * Hands a step to the device. Steps run in the order submitted; a caller may submit the next
   * before it reads the last. The batch's arrays are the caller's and change after this returns.
   *
   * @throws {RangeError} if the batch exceeds `limits` or the context length.
   */
  submit(batch: Batch): PendingStep;
  /** Copies KV blocks on the device, for copy on write. */
  copyBlocks(copies: readonly BlockCopy[]): void;
  /**
   * Makes room for so many blocks in all in the layers of a group, what they hold kept; returns how
   * many there are now. Fewer than asked means that there is no room for more; it fails only if the
   * device does. Submit nothing before it is done.
   */
  growBlocks?(group: number, blocks: number): Promise<number>;
  /**
   * Nothing of what was submitted is wanted any more, nor what it would have written: steps may end
   * early, with no results. Not all backends can.
   */
  abandon?(): void;
  /**
   * Compiles what steps of any size need, so that no request waits for it; loading compiles the usual.
   *
   * @param pause called between kernels; what it throws ends the work
   */
  compileAll?(pause?: Pause): Promise<void>;
  /** Frees the device. */
  destroy(): void;
}
