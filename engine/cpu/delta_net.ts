/** The operations of a layer with a gated delta net. */

import { CONVOLUTION, CONVOLUTION_CHANNELS, DELTA_NORM } from "../../kernels/wasm/delta_net.ts";
import { DELTA_RULE } from "../../kernels/wasm/delta_rule.ts";
import { ENCODINGS } from "../../kernels/wasm/prepare.ts";
import type { DeltaNetSpec } from "../model/config.ts";
import { channelsOf } from "../model/mixers.ts";
import { areFew, type Output, type Prepared, type ProgramWriter } from "./program.ts";
import { mixerRow } from "./scratch.ts";
import type { LayerStates } from "./state_cache.ts";
import type { DeltaNetWeights, Matrix } from "./weights.ts";

/** One such layer. */
export interface DeltaNet {
  readonly spec: DeltaNetSpec;
  readonly weights: DeltaNetWeights;
  readonly states: LayerStates;
  readonly epsilon: number;
}

/** What a step gives it, and where its result goes. */
export interface DeltaNetStep {
  readonly tokens: number;
  readonly sequences: number;
  /** Adds the preparation of the layer's input for some matrices. */
  readonly prepare: (matrices: readonly Matrix[]) => Prepared;
  readonly branch: Output;
}

/** Adds the layer to the list; the last operation is not joined. */
export function deltaNetProgram(
  writer: ProgramWriter,
  { spec, weights, states, epsilon }: DeltaNet,
  { tokens, sequences, prepare, branch }: DeltaNetStep,
): void {
  const { scratch, index: kernels } = writer.context;
  const { keyHeads, valueHeads, keyDim, valueDim, taps } = spec;
  const stride = scratch.headsStride;
  const [inputs, gate, steps, strengths, out] = mixerRow(spec).at.map((at) =>
    scratch.heads + at
  ) as [...[number, number, number, number, number]];
  const products = [
    { matrix: weights.inputs, y: inputs },
    { matrix: weights.gate, y: gate },
    { matrix: weights.step, y: steps, bias: weights.stepBias },
    { matrix: weights.strength, y: strengths },
  ];
  for (const some of preparedTogether(writer, products)) {
    const prepared = prepare(some.map(({ matrix }) => matrix));
    for (const { matrix, ...output } of some) {
      writer.multiply(matrix, prepared, { tokens, stride, ...output });
    }
    writer.join();
  }
  const channels = channelsOf(spec);
  const blocks = Math.ceil(channels / CONVOLUTION_CHANNELS);
  writer.add(kernels.convolutions.get(taps)!, { units: sequences * blocks }, {
    fields: CONVOLUTION,
    values: {
      channels,
      blocks,
      stride,
      stateStride: states.convolutionStride,
      inputs,
      weights: weights.convolution,
      states: states.convolution,
      sequences: scratch.sequences,
    },
  });
  writer.join();
  writer.add(kernels.deltaRules.get(keyDim)!, { units: sequences * valueHeads, chunk: 1 }, {
    fields: DELTA_RULE,
    values: {
      keyHeads,
      valueHeads,
      valueDim,
      tiled: spec.tiled ? 1 : 0,
      stride,
      stateStride: states.matricesStride,
      inputs,
      steps,
      strengths,
      decays: weights.decay,
      out,
      states: states.matrices,
      sequences: scratch.sequences,
    },
  });
  writer.join();
  const normed = writer.prepare(
    kernels.deltaNorm,
    { units: tokens, few: areFew(tokens), matrices: [weights.output] },
    {
      fields: DELTA_NORM,
      values: {
        columns: valueHeads * valueDim,
        heads: valueHeads,
        headDim: valueDim,
        fromStride: stride,
        from: out,
        gate,
        weight: weights.norm,
        epsilon,
      },
    },
  );
  writer.multiply(weights.output, normed, { tokens, ...branch });
}

/** Products whose activations one preparation can write: as many as have encodings for it. */
function preparedTogether<P extends { readonly matrix: Matrix }>(
  writer: ProgramWriter,
  products: readonly P[],
): P[][] {
  const groups: P[][] = [];
  for (const product of products) {
    const together = [...groups.at(-1) ?? [], product];
    const { encodings } = writer.prepared(
      together.map(({ matrix }) => matrix),
      writer.context.scratch.shared,
    );
    if (groups.length > 0 && encodings.length <= ENCODINGS) groups[groups.length - 1] = together;
    else groups.push([product]);
  }
  return groups;
}
