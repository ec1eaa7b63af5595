/** One operation of a model's step on the device, and the context that all operations share. */

import type { KvType } from "../../kernels/sizes.ts";
import type { Tuning } from "../../kernels/tuning.ts";
import type { Dispatch } from "./pass.ts";
import type { Pipelines } from "./pipelines.ts";
import type { Scratch } from "./scratch.ts";

/**
 * What an operation iterates over: the tokens of the step, its sequences, or its rows of logits.
 */
export type Over = "tokens" | "sequences" | "logits";

/** One dispatch of the model; its grid depends on the size of the step. */
export interface Operation {
  readonly over: Over;
  /**
   * Returns the dispatch for `count` (≥ 1) tokens, sequences or rows.
   *
   * @param attentionParts see StepCounts; only attention uses it
   */
  at(count: number, attentionParts: number): Dispatch;
}

/** The context that the operations of one model share. */
export interface OperationContext {
  readonly pipelines: Pipelines;
  readonly tuning: Tuning;
  readonly scratch: Scratch;
  /** Floats per token in the residual stream. */
  readonly dim: number;
  readonly rmsEpsilon: number;
  readonly kv: KvType;
  /**
   * Whether to request the kernels for usual step sizes now, and not when they are first launched.
   */
  readonly eager: boolean;
}
