/**
 * The states of recurrent layers on the device. Each layer has a state of fixed size for each slot.
 */

import type { ModelConfig } from "../model/config.ts";
import { isRecurrent, stateFloats } from "../model/mixers.ts";
import { createBuffer } from "./buffers.ts";
import type { Gpu } from "./device.ts";

/** One layer's states, in the layout of convolution.wgsl, delta_rule.wgsl and mamba_scan.wgsl. */
export interface LayerStates {
  readonly convolution: GPUBuffer;
  readonly matrices: GPUBuffer;
}

/** Allocates the states of each layer; undefined for layers without a state. */
export function createStates(
  gpu: Gpu,
  { layers }: ModelConfig,
  slots: number,
): (LayerStates | undefined)[] {
  return layers.map(({ mixer }, layer) => {
    if (!isRecurrent(mixer)) return undefined;
    const floats = stateFloats(mixer);
    const make = (name: keyof typeof floats) =>
      createBuffer(gpu, {
        label: `${name} of states ${layer}`,
        bytes: 4 * slots * floats[name],
        purpose: "kv",
      });
    return { convolution: make("convolution"), matrices: make("matrices") };
  });
}
