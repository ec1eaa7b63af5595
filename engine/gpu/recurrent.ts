/** Builds the operations of a recurrent layer's mixer. */

import {
  convolutionSpec,
  deltaNormSpec,
  deltaRuleSpec,
  gatedGroupNormSpec,
  mambaScanSpec,
  stateParts,
} from "../../kernels/recurrent_specs.ts";
import type { DeltaNetSpec, MambaSpec, RecurrentSpec } from "../model/config.ts";
import { channelsOf } from "../model/mixers.ts";
import type { Operation } from "./operation.ts";
import type { LayerContext, OperationBuilder } from "./operations.ts";
import type { LayerStates } from "./state_cache.ts";

/** Reads the residual stream and writes `attended`, [tokens, valueHeads, valueDim]. */
export function recurrent(
  context: LayerContext,
  spec: RecurrentSpec,
  states: LayerStates,
): Operation[] {
  const { build, weights, name } = context;
  const { hidden, qkv, gates, steps } = build.scratch;
  const { valueHeads, valueDim } = spec;
  const channels = channelsOf(spec);
  const isMamba = spec.kind === "mamba";
  const input = {
    x: hidden,
    norm: weights.vector(name("attentionNorm")),
    over: "tokens",
  } as const;
  const ofHeads = { ...input, y: steps!, stride: (isMamba ? 1 : 2) * valueHeads } as const;
  const decay = name("recurrentDecay");
  const norm = weights.vector(name("recurrentNorm"));
  return [
    ...build.matmul(weights.matrix(name("recurrentInputs")), {
      ...{ ...input, y: qkv, stride: channels },
    }),
    ...build.matmul(weights.matrix(name("recurrentGate")), {
      ...input,
      y: gates!,
      stride: valueHeads * valueDim,
    }),
    ...build.matmul(weights.matrix(name("recurrentStep")), {
      ...ofHeads,
      bias: weights.vector(name("recurrentStepBias")),
    }),
    ...(isMamba
      ? []
      : build.matmul(weights.matrix(name("deltaStrength")), { ...ofHeads, offset: valueHeads })),
    convolution(build, spec, {
      weights: weights.vector(
        name("convolution"),
        ...isMamba && spec.convolutionBias ? [name("convolutionBias")] : [],
      ),
      states: states.convolution,
    }),
    ...(isMamba
      ? [
        mambaScan(build, spec, {
          rates: weights.vector(decay, name("mambaSkip")),
          states: states.matrices,
        }),
        gatedGroupNorm(build, spec, norm),
      ]
      : [
        deltaRule(build, spec, { decays: weights.vector(decay), states: states.matrices }),
        deltaNorm(build, spec, norm),
      ]),
  ];
}

/** Convolves queries, keys and values in place. */
export function convolution(
  build: OperationBuilder,
  spec: RecurrentSpec,
  { weights, states }: { readonly weights: GPUBuffer; readonly states: GPUBuffer },
): Operation {
  const { scratch: { qkv, metadata }, tuning: { elementLanes: lanes } } = build;
  const channels = channelsOf(spec);
  const bias = spec.kind === "mamba" && spec.convolutionBias;
  return build.fixed(convolutionSpec({ channels, taps: spec.taps, bias, lanes }), {
    buffers: { 0: qkv, 1: weights, 2: states, 3: metadata },
    grid: (sequences) => [Math.ceil(channels / lanes), sequences],
    over: "sequences",
  });
}

/** Updates and reads the states by the gated delta rule. */
export function deltaRule(
  build: OperationBuilder,
  { keyHeads, valueHeads, keyDim, valueDim, tiled }: DeltaNetSpec,
  { decays, states }: { readonly decays: GPUBuffer; readonly states: GPUBuffer },
): Operation {
  const { scratch: { qkv, steps, attended, metadata }, tuning: { elementLanes: lanes } } = build;
  const rows = lanes / stateParts(keyDim, lanes);
  const spec = deltaRuleSpec({ keyHeads, valueHeads, keyDim, valueDim, tiled, lanes });
  return build.fixed(spec, {
    buffers: { 0: qkv, 1: steps!, 2: decays, 3: states, 4: attended, 5: metadata },
    grid: (sequences) => [valueHeads * Math.ceil(valueDim / rows), sequences],
    over: "sequences",
  });
}

/**
 * Updates and reads the states as Mamba does. @param rates decays and skips, one after the other
 */
export function mambaScan(
  build: OperationBuilder,
  { keyHeads, valueHeads, keyDim, valueDim }: MambaSpec,
  { rates, states }: { readonly rates: GPUBuffer; readonly states: GPUBuffer },
): Operation {
  const { scratch: { qkv, steps, attended, metadata }, tuning: { elementLanes: lanes } } = build;
  const rows = lanes / stateParts(keyDim, lanes);
  return build.fixed(mambaScanSpec({ keyHeads, valueHeads, keyDim, valueDim, lanes }), {
    buffers: { 0: qkv, 1: steps!, 2: rates, 3: states, 4: attended, 5: metadata },
    grid: (sequences) => [valueHeads * Math.ceil(valueDim / rows), sequences],
    over: "sequences",
  });
}

/** Applies Mamba's gates, then normalizes each group of heads, in place. */
export function gatedGroupNorm(
  build: OperationBuilder,
  { keyHeads: groups, valueHeads, valueDim }: MambaSpec,
  weight: GPUBuffer,
): Operation {
  const { scratch: { attended, gates }, tuning: { elementLanes: lanes }, context } = build;
  const { rmsEpsilon: epsilon } = context;
  const groupDim = valueHeads * valueDim / groups;
  return build.fixed(gatedGroupNormSpec({ groups, groupDim, epsilon, lanes }), {
    buffers: { 0: attended, 1: gates!, 2: weight },
    grid: (tokens) => [groups, tokens],
  });
}

/** Normalizes each head, then applies its gate, in place. */
export function deltaNorm(
  build: OperationBuilder,
  { valueHeads: heads, valueDim: headDim }: DeltaNetSpec,
  weight: GPUBuffer,
): Operation {
  const { scratch: { attended, gates }, tuning: { elementLanes: lanes }, context } = build;
  const { rmsEpsilon: epsilon } = context;
  return build.fixed(deltaNormSpec({ heads, headDim, epsilon, lanes }), {
    buffers: { 0: attended, 1: gates!, 2: weight },
    grid: (tokens) => [heads, tokens],
  });
}
