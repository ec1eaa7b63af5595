/** One step of a model on the device, and what all of them share. */

import type { KvType } from "../../kernels/sizes.ts";
import type { Tuning } from "../../kernels/tuning.ts";
import type { Dispatch } from "./pass.ts";
import type { Pipelines } from "./pipelines.ts";
import type { Scratch } from "./scratch.ts";

/** What an operation runs over: the step's tokens, its sequences, or its rows of logits. */
export type Over = "tokens" | "sequences" | "logits";

/** One dispatch of the model, its grid left open until the step's size is known. */
export interface Operation {
  readonly over: Over;
  /**
   * The dispatch for `count` (≥ 1) tokens, sequences or rows.
   *
   * @param attentionParts as StepCounts has it; attention alone looks at it
   */
  at(count: number, attentionParts: number): Dispatch;
}

/** What the operations of one model share. */
export interface OperationContext {
  readonly pipelines: Pipelines;
  readonly tuning: Tuning;
  readonly scratch: Scratch;
  /** Floats of the residual stream a token. */
  readonly dim: number;
  readonly rmsEpsilon: number;
  readonly kv: KvType;
  /** Asks for the kernels of steps of usual sizes at once, not when they are first launched. */
  readonly eager: boolean;
}
