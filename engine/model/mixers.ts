/** The mixers of one kind among a model's layers. */

import type { AttentionSpec, LayerSpec, RecurrentHeads, RecurrentSpec } from "./config.ts";

/** Those of attention, in the order of the layers. */
export function attentionsOf(layers: readonly LayerSpec[]): AttentionSpec[] {
  return layers.flatMap(({ mixer }) => mixer?.kind === "attention" ? [mixer] : []);
}

/** Those with a state. */
export function recurrentOf(layers: readonly LayerSpec[]): RecurrentSpec[] {
  return layers.flatMap(({ mixer }) => isRecurrent(mixer) ? [mixer] : []);
}

/** Whether a mixer has a state. */
export function isRecurrent(mixer: LayerSpec["mixer"]): mixer is RecurrentSpec {
  return mixer !== undefined && mixer.kind !== "attention";
}

/** Channels of the convolution: queries, keys and values. */
export function channelsOf({ keyHeads, valueHeads, keyDim, valueDim }: RecurrentHeads): number {
  return 2 * keyHeads * keyDim + valueHeads * valueDim;
}

/** Floats of a sequence's state in one layer: what the convolution saw last, and a matrix a head. */
export function stateFloats(spec: RecurrentHeads): { convolution: number; matrices: number } {
  const { valueHeads, keyDim, valueDim, taps } = spec;
  return {
    convolution: (taps - 1) * channelsOf(spec),
    matrices: valueHeads * valueDim * keyDim,
  };
}
