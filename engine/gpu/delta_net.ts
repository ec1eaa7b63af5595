/** The operations of a layer with a gated delta net. */

import {
  convolutionSpec,
  deltaNormSpec,
  deltaRuleParts,
  deltaRuleSpec,
} from "../../kernels/delta_net_specs.ts";
import type { DeltaNetSpec } from "../model/config.ts";
import { channelsOf } from "../model/mixers.ts";
import type { Operation } from "./operation.ts";
import type { LayerContext, OperationBuilder } from "./operations.ts";
import type { LayerStates } from "./state_cache.ts";

/** From the residual stream to `attended`: [tokens, valueHeads, valueDim]. */
export function deltaNet(
  { build, weights, name }: LayerContext,
  spec: DeltaNetSpec,
  states: LayerStates,
): Operation[] {
  const { hidden, qkv, gates, steps } = build.scratch;
  const { valueHeads, valueDim } = spec;
  const channels = channelsOf(spec);
  const input = {
    x: hidden,
    norm: weights.vector(name("attentionNorm")),
    over: "tokens",
  } as const;
  const ofHeads = { ...input, y: steps!, stride: 2 * valueHeads } as const;
  return [
    ...build.matmul(weights.matrix(name("deltaInputs")), { ...input, y: qkv, stride: channels }),
    ...build.matmul(weights.matrix(name("deltaGate")), {
      ...input,
      y: gates!,
      stride: valueHeads * valueDim,
    }),
    ...build.matmul(weights.matrix(name("deltaStep")), {
      ...ofHeads,
      bias: weights.vector(name("deltaStepBias")),
    }),
    ...build.matmul(weights.matrix(name("deltaStrength")), { ...ofHeads, offset: valueHeads }),
    convolution(build, spec, {
      weights: weights.vector(name("convolution")),
      states: states.convolution,
    }),
    deltaRule(build, spec, { decays: weights.vector(name("deltaDecay")), states: states.matrices }),
    deltaNorm(build, spec, weights.vector(name("deltaNorm"))),
  ];
}

/** The convolution of queries, keys and values, in place. */
export function convolution(
  build: OperationBuilder,
  spec: DeltaNetSpec,
  { weights, states }: { readonly weights: GPUBuffer; readonly states: GPUBuffer },
): Operation {
  const { scratch: { qkv, metadata }, tuning: { elementLanes: lanes } } = build;
  const channels = channelsOf(spec);
  return build.fixed(convolutionSpec({ channels, taps: spec.taps, lanes }), {
    buffers: { 0: qkv, 1: weights, 2: states, 3: metadata },
    grid: (sequences) => [Math.ceil(channels / lanes), sequences],
    over: "sequences",
  });
}

/** What changes and reads the states. */
export function deltaRule(
  build: OperationBuilder,
  { keyHeads, valueHeads, keyDim, valueDim, tiled }: DeltaNetSpec,
  { decays, states }: { readonly decays: GPUBuffer; readonly states: GPUBuffer },
): Operation {
  const { scratch: { qkv, steps, attended, metadata }, tuning: { elementLanes: lanes } } = build;
  const rows = lanes / deltaRuleParts(keyDim, lanes);
  const spec = deltaRuleSpec({ keyHeads, valueHeads, keyDim, valueDim, tiled, lanes });
  return build.fixed(spec, {
    buffers: { 0: qkv, 1: steps!, 2: decays, 3: states, 4: attended, 5: metadata },
    grid: (sequences) => [valueHeads * Math.ceil(valueDim / rows), sequences],
    over: "sequences",
  });
}

/** The norm of what the heads gave and their gates, in place. */
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
