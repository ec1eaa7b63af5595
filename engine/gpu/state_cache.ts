/** The states of recurrent layers on the device: one of fixed size for each slot and layer. */

import type { ModelConfig } from "../model/config.ts";
import { isRecurrent, stateFloats } from "../model/mixers.ts";
import { createBuffer } from "./buffers.ts";
import type { Gpu } from "./device.ts";

/** One layer's states, as convolution.wgsl, delta_rule.wgsl and mamba_scan.wgsl have them. */
export interface LayerStates {
  readonly convolution: GPUBuffer;
  readonly matrices: GPUBuffer;
}

/** By layer; of those without a state, none. */
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
