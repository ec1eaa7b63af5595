/**
 * The states of recurrent layers in the shared memory. A state has a fixed size for each slot and
 * layer.
 */

import type { ModelConfig } from "../model/config.ts";
import { isRecurrent, stateFloats } from "../model/mixers.ts";
import type { Layout } from "./memory.ts";

/** One layer's states: [slots, …] each, see kernels/wasm/delta_net.ts and states.ts. */
export interface LayerStates {
  readonly convolution: number;
  readonly matrices: number;
  /** Bytes per slot of each of the two. */
  readonly convolutionStride: number;
  readonly matricesStride: number;
}

export class StateCache {
  /** Indexed by layer; undefined for layers without a state. */
  readonly layers: readonly (LayerStates | undefined)[];

  constructor(layout: Layout, { layers }: ModelConfig, slots: number) {
    this.layers = layers.map(({ mixer }) => {
      if (!isRecurrent(mixer)) return undefined;
      const { convolution, matrices } = stateFloats(mixer);
      return {
        convolution: layout.allocate(4 * slots * convolution),
        matrices: layout.allocate(4 * slots * matrices),
        convolutionStride: 4 * convolution,
        matricesStride: 4 * matrices,
      };
    });
  }
}
