/** A model in the shared memory, and the shape of a step. */

import type { ModelConfig } from "../model/config.ts";
import type { KvCache } from "./kv_cache.ts";
import type { StateCache } from "./state_cache.ts";
import type { ModelWeights } from "./weights.ts";

/** The properties of a step that determine its operations. */
export interface StepShape {
  readonly tokens: number;
  readonly sequences: number;
  /** Splits of attention that are separate units; 1: a unit is a whole head. */
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
