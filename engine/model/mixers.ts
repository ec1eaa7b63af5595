/** Finds the mixers of one kind among a model's layers, and computes their sizes. */

import type { AttentionSpec, LayerSpec, RecurrentHeads, RecurrentSpec } from "./config.ts";

/** Returns the attention mixers, in the order of the layers. */
export function attentionsOf(layers: readonly LayerSpec[]): AttentionSpec[] {
  return layers.flatMap(({ mixer }) => mixer?.kind === "attention" ? [mixer] : []);
}

/** Returns the mixers with a state, in the order of the layers. */
export function recurrentOf(layers: readonly LayerSpec[]): RecurrentSpec[] {
  return layers.flatMap(({ mixer }) => isRecurrent(mixer) ? [mixer] : []);
}

/** Whether a mixer has a state. */
export function isRecurrent(mixer: LayerSpec["mixer"]): mixer is RecurrentSpec {
  return mixer !== undefined && mixer.kind !== "attention";
}

/** Returns the number of channels of the convolution: of queries, keys and values together. */
export function channelsOf({ keyHeads, valueHeads, keyDim, valueDim }: RecurrentHeads): number {
  return 2 * keyHeads * keyDim + valueHeads * valueDim;
}

/**
 * Returns the number of floats of a sequence's state in one layer: the last inputs of the
 * convolution, and a matrix for each value head.
 */
export function stateFloats(spec: RecurrentHeads): { convolution: number; matrices: number } {
  const { valueHeads, keyDim, valueDim, taps } = spec;
  return {
    convolution: (taps - 1) * channelsOf(spec),
    matrices: valueHeads * valueDim * keyDim,
  };
}
