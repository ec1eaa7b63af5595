/** A model in the shared memory, and what the operations of its steps depend on. */

import type { ModelConfig } from "../model/config.ts";
import type { KvCache } from "./kv_cache.ts";
import type { StateCache } from "./state_cache.ts";
import type { ModelWeights } from "./weights.ts";

/** What the operations of a step depend on. */
export interface StepShape {
  readonly tokens: number;
  readonly sequences: number;
  /** Splits of attention that are units of their own; 1: a unit is all of a head. */
  readonly splits: number;
  /** See ProgramWriter. */
  readonly apart: boolean;
}

export interface Model {
  readonly config: ModelConfig;
  readonly weights: ModelWeights;
  readonly cache: KvCache;
  readonly states: StateCache;
}
