/** The mixers of one kind among a model's layers. */

import type { AttentionSpec, DeltaNetSpec, LayerSpec } from "./config.ts";

/** Those of attention, in the order of the layers. */
export function attentionsOf(layers: readonly LayerSpec[]): AttentionSpec[] {
  return layers.flatMap(({ mixer }) => mixer.kind === "delta-net" ? [] : [mixer]);
}

/** The gated delta nets. */
export function deltaNetsOf(layers: readonly LayerSpec[]): DeltaNetSpec[] {
  return layers.flatMap(({ mixer }) => mixer.kind === "delta-net" ? [mixer] : []);
}

/** Channels of the convolution: queries, keys and values. */
export function channelsOf({ keyHeads, valueHeads, keyDim, valueDim }: DeltaNetSpec): number {
  return 2 * keyHeads * keyDim + valueHeads * valueDim;
}

/** Floats of a sequence's state in one layer: what the convolution saw last, and a matrix a head. */
export function stateFloats(spec: DeltaNetSpec): { convolution: number; matrices: number } {
  const { valueHeads, keyDim, valueDim, taps } = spec;
  return {
    convolution: (taps - 1) * channelsOf(spec),
    matrices: valueHeads * valueDim * keyDim,
  };
}
