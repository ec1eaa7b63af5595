/** Computes the sizes of the buffers between a model's kernels. */

import type { LayerSpec, ModelConfig } from "../model/config.ts";
import { attentionsOf, channelsOf, recurrentOf } from "../model/mixers.ts";
import type { ScratchSizes } from "./scratch.ts";

/** Returns the widths of the buffers between kernels, each the maximum over all layers. */
export function scratchSizes(
  { dim, vocabSize, layers }: ModelConfig,
): Pick<
  ScratchSizes,
  | "dim"
  | "vocabSize"
  | "qkvDim"
  | "queryDim"
  | "heads"
  | "gatesDim"
  | "stepsDim"
  | "gatedDim"
  | "branch"
  | "experts"
> {
  const widest = (width: (layer: LayerSpec) => number) => Math.max(...layers.map(width));
  const attentions = attentionsOf(layers);
  const recurrent = recurrentOf(layers);
  const values = recurrent.map((m) => m.valueHeads * m.valueDim);
  const routed = layers.flatMap(({ feedForward }) =>
    feedForward?.kind === "experts" ? [feedForward] : []
  );
  return {
    dim,
    vocabSize,
    qkvDim: Math.max(
      ...attentions.map((m) => (m.heads + 2 * m.kvHeads) * m.headDim),
      ...recurrent.map(channelsOf),
    ),
    queryDim: Math.max(...attentions.map((m) => m.heads * m.headDim), ...values),
    heads: Math.max(...attentions.map((m) => m.heads)),
    gatesDim: Math.max(
      0,
      ...attentions.map((m) => m.gated ? m.heads * m.headDim : 0),
      ...values,
    ),
    stepsDim: Math.max(0, ...recurrent.map((m) => 2 * m.valueHeads)),
    gatedDim: widest(({ feedForward: f }) =>
      f === undefined ? 0 : f.kind === "experts" ? f.used * f.width : f.width
    ),
    branch: layers.some(({ postNorms }) => postNorms),
    experts: routed.length === 0 ? undefined : {
      count: Math.max(...routed.map(({ count }) => count)),
      used: Math.max(...routed.map(({ used }) => used)),
      shared: Math.max(...routed.map(({ shared }) => shared?.width ?? 0)),
    },
  };
}
