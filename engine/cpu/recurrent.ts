/** The operations of a layer whose mixer has a recurrent state. */

import { CONVOLUTION, CONVOLUTION_CHANNELS, DELTA_NORM } from "../../kernels/wasm/delta_net.ts";
import { DELTA_RULE } from "../../kernels/wasm/delta_rule.ts";
import { MAMBA_SCAN } from "../../kernels/wasm/mamba_scan.ts";
import { ENCODINGS } from "../../kernels/wasm/prepare.ts";
import type { RecurrentSpec } from "../model/config.ts";
import { channelsOf } from "../model/mixers.ts";
import { areFew, type Output, type Prepared, type ProgramWriter } from "./program.ts";
import { mixerRow } from "./scratch.ts";
import type { LayerStates } from "./state_cache.ts";
import type { Matrix } from "./matrix.ts";
import type { RecurrentWeights } from "./weights.ts";

/** A layer whose mixer has a recurrent state. */
export interface RecurrentLayer {
  readonly spec: RecurrentSpec;
  readonly weights: RecurrentWeights;
  readonly states: LayerStates;
  readonly epsilon: number;
}

/** The layer's input in a step, and the destination of its result. */
export interface RecurrentStep {
  readonly tokens: number;
  readonly sequences: number;
  /** Adds the operation that prepares the layer's input for the given matrices. */
  readonly prepare: (matrices: readonly Matrix[]) => Prepared;
  readonly branch: Output;
}

/** Adds the layer's operations to the list. The last operation is not joined. */
export function recurrentProgram(
  writer: ProgramWriter,
  { spec, weights, states, epsilon }: RecurrentLayer,
  { tokens, sequences, prepare, branch }: RecurrentStep,
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
    ...(weights.strength ? [{ matrix: weights.strength, y: strengths }] : []),
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
      bias: weights.convolutionBias,
      states: states.convolution,
      sequences: scratch.sequences,
    },
  });
  writer.join();
  const units = { units: sequences * valueHeads, chunk: 1 };
  const values = {
    keyHeads,
    valueHeads,
    valueDim,
    stride,
    stateStride: states.matricesStride,
    inputs,
    steps,
    decays: weights.decay,
    out,
    states: states.matrices,
    sequences: scratch.sequences,
  };
  if (spec.kind === "mamba") {
    writer.add(kernels.mambaScans.get(keyDim)!, units, {
      fields: MAMBA_SCAN,
      values: { ...values, skips: weights.skip },
    });
  } else {
    writer.add(kernels.deltaRules.get(keyDim)!, units, {
      fields: DELTA_RULE,
      values: { ...values, tiled: spec.tiled ? 1 : 0, strengths },
    });
  }
  writer.join();
  const heads = spec.kind === "mamba" ? keyHeads : valueHeads;
  const normed = writer.prepare(
    kernels.deltaNorms[spec.kind],
    { units: tokens, few: areFew(tokens), matrices: [weights.output] },
    {
      fields: DELTA_NORM,
      values: {
        columns: valueHeads * valueDim,
        heads,
        headDim: valueHeads * valueDim / heads,
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

/**
 * Groups consecutive products whose activations one preparation can write, with at most ENCODINGS
 * encodings.
 */
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
