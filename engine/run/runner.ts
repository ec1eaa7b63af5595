/**
 * The interface that every backend implements. The scheduler and the generation loop use a device
 * only through it. A batch's metadata is an argument, never a global.
 */

import type { ModelConfig } from "../model/config.ts";
import type { Pause } from "./event_loop.ts";

export { BLOCK_TOKENS, REPEAT_HISTORY, REPEAT_WINDOW } from "../../kernels/sizes.ts";

/** Rows of logits that any runner can return for one step; each row has `vocabSize` floats. */
export const MOST_LOGIT_ROWS = 32;

/** Maximum number of decode steps that one batch can chain. */
export const MOST_STEPS = 8;

/** Maximum logit biases of a sequence. Every runner has room for that many in all its sequences. */
export const MOST_BIASES = 1024;

/** How a sequence's next token is chosen. Greedy is temperature 0. */
export interface SamplingOptions {
  /** 0 is greedy: the most probable token; if several are, the one with the lowest id. */
  readonly temperature: number;
  /** Keep the k most probable tokens; 0 keeps all. */
  readonly topK: number;
  /** Keep the fewest tokens whose probabilities sum to at least this; 1 keeps all. */
  readonly topP: number;
  /** Keep tokens at least this fraction as probable as the best; 0 keeps all. */
  readonly minP: number;
  /** Divides positive, multiplies negative logits of the last `repeatWindow` tokens; 1 is off. */
  readonly repeatPenalty: number;
  /** Tokens that count as repeated: at most REPEAT_HISTORY, 1,024; default REPEAT_WINDOW, 64. */
  readonly repeatWindow?: number;
  /** Added to the logits of these token ids, at most MOST_BIASES. */
  readonly logitBias?: ReadonlyMap<number, number>;
  /**
   * Seed of the random draws, an unsigned 32-bit integer. The random numbers depend only on the
   * seed and the token's position, so that the same seed gives the same text on the same device,
   * whatever else runs.
   */
  readonly seed: number;
}

/** Always chooses the most probable token; all filters are off. */
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
  /** The runner's row for this sequence's last token and sampler state, in [0, `maxSequences`). */
  readonly slot: number;
  /**
   * The tokens to process, at positions `start`, `start + 1`, … `null` means one token: the one
   * that this slot sampled last, which may not have been read back yet.
   */
  readonly tokens: readonly number[] | null;
  /** Tokens of this sequence that are in the KV cache already. */
  readonly start: number;
  /**
   * The last tokens before `start`, at most REPEAT_HISTORY; they come from the prefix cache.
   * Present only in a sequence's first batch in its slot: the runner then clears the previous
   * sequence's state.
   */
  readonly prior?: readonly number[];
  /**
   * For each group of layers (model/kv_groups.ts), the physical block of each BLOCK_TOKENS
   * positions. Covers all positions that this batch writes or reads. The entries of positions that
   * have left the group's window may be any valid block.
   */
  readonly blockTables: readonly (readonly number[])[];
  /** How to sample a token after the last one; absent if the prompt continues in a later batch. */
  readonly sampling?: SamplingOptions;
  /**
   * Return the logits after each of the batch's tokens ("all"), or after the last one ("last"): the
   * model's own logits, before biases and penalties.
   */
  readonly logits?: "all" | "last";
}

/** The time that a kernel ran. */
export interface KernelTime {
  /** The kernel's name and purpose. */
  readonly name: string;
  /** Measured by the device's own clock. */
  readonly milliseconds: number;
}

/** How to time dispatches: each in its own pass, or all in one pass under the first one's name. */
export type Timing = "each" | "together";

/** When a step ran, by the host's clock (`performance.now()`, ms). */
export interface StepSpan {
  /** When the host began to submit the step to the device, or to compute it. */
  readonly from: number;
  /** When the step had been submitted; equal to `from` if the host computes the step. */
  readonly launched: number;
  /** When the results were available. */
  readonly to: number;
}

/** The work of one step on the device. */
export interface Batch {
  /** Each sequence has its own slot. */
  readonly sequences: readonly BatchSequence[];
  /**
   * Number of decode steps to chain on the device, each feeding its tokens to the next; default 1,
   * at most MOST_STEPS. With more than 1, each sequence must have one token, sample, and request no
   * logits.
   */
  readonly steps?: number;
  /** Time the kernels, on a GPU that has timestamps. */
  readonly timing?: Timing;
  /** What to create again for this step and not reuse in later steps; default nothing. */
  readonly anew?: { readonly weights: boolean; readonly buffers: boolean };
}

/** The results of a step, per sequence of the batch. */
export interface StepOutput {
  /** The sampled tokens in order: `steps` tokens, or none if the sequence did not sample. */
  readonly tokens: readonly (readonly number[])[];
  /** Rows of `vocabSize` logits, for the sequences that requested them. */
  readonly logits: readonly (readonly Float32Array[])[];
  /** In the order in which they ran, if the batch requested them. */
  readonly kernels?: readonly KernelTime[];
  /** When the step ran; absent if the backend does not record it. */
  readonly span?: StepSpan;
}

/** A step that was submitted to the device and not yet read. */
export interface PendingStep {
  /** Waits for the step and returns its results. Call it only once. */
  read(): Promise<StepOutput>;
}

/** The device that runs the model, for reports. */
export interface RunnerDevice {
  /** A GPU through WebGPU, or the processor. */
  readonly kind: "gpu" | "cpu";
  /** The adapter's or processor's own description. */
  readonly description: string;
  /** "software" if the processor computes, even behind a GPU driver. */
  readonly driver: "hardware" | "software";
  /** How the model runs there, such as "2 threads". */
  readonly detail?: string;
}

/** The sizes with which the runner was created. */
export interface RunnerLimits {
  /** Current number of blocks of the KV cache, by group of layers. */
  readonly blocks: readonly number[];
  /** Maximum number of sequences in one batch. */
  readonly maxSequences: number;
  /** Maximum number of tokens in one batch, all sequences together. */
  readonly maxBatchTokens: number;
}

/** A copy from one block to another in all layers of a group. */
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
  /** The model's config; its context length is the longest sequence that the runner accepts. */
  readonly config: ModelConfig;
  /** The device that runs the model. */
  readonly device: RunnerDevice;
  /** Limits of a batch. */
  readonly limits: RunnerLimits;
  /**
   * Submits a step to the device. Steps run in the order in which they are submitted. A caller may
   * submit the next step before it reads the last one. The batch's arrays belong to the caller,
   * which may change them as soon as this returns.
   *
   * @throws {RangeError} if the batch exceeds `limits` or the context length.
   */
  submit(batch: Batch): PendingStep;
  /** Copies KV blocks on the device, for copy on write. */
  copyBlocks(copies: readonly BlockCopy[]): void;
  /**
   * Grows the KV cache in the layers of a group to `blocks` blocks in total and keeps its contents.
   * Returns the new number of blocks: fewer than requested if there is no room for more. Fails only
   * if the device fails. Submit nothing until it is done.
   */
  growBlocks?(group: number, blocks: number): Promise<number>;
  /**
   * Abandons all submitted steps: they may end early, without results, and what they write to the
   * KV cache is undefined. Not all backends support it.
   */
  abandon?(): void;
  /**
   * Compiles the kernels for steps of all sizes, so that no request has to wait for a compilation.
   * Loading compiles only those of the usual sizes.
   *
   * @param pause called between kernels; an exception from it ends the compilation
   */
  compileAll?(pause?: Pause): Promise<void>;
  /** Frees the device. */
  destroy(): void;
}
