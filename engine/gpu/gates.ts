/**
 * Operations that multiply attention's heads and shared experts by the sigmoid of their gates, and
 * the squared ReLU of networks without a gate.
 */

import { headGateSpec, relu2Spec, sharedAddSpec } from "../../kernels/recurrent_specs.ts";
import type { Operation } from "./operation.ts";
import type { OperationBuilder } from "./operations.ts";

/** attended *= sigmoid(gates), `width` floats per token. */
export function headGate(build: OperationBuilder, width: number): Operation {
  const { scratch: { attended, gates }, tuning: { elementLanes: lanes } } = build;
  return build.fixed(headGateSpec({ width, lanes }), {
    buffers: { 0: attended, 1: gates! },
    grid: (tokens) => [Math.ceil(width / 4 / lanes), tokens],
  });
}

/** x = max(x, 0)², `width` floats per token. */
export function relu2(build: OperationBuilder, x: GPUBuffer, width: number): Operation {
  const { elementLanes: lanes } = build.tuning;
  return build.fixed(relu2Spec({ width, lanes }), {
    buffers: { 0: x },
    grid: (tokens) => [Math.ceil(width / 4 / lanes), tokens],
  });
}

/** hidden += sigmoid(logits) · part, one logit per token. */
export function addShared(
  build: OperationBuilder,
  { logits, part }: { readonly logits: GPUBuffer; readonly part: GPUBuffer },
): Operation {
  const { scratch: { hidden }, context: { dim }, tuning: { elementLanes: lanes } } = build;
  return build.fixed(sharedAddSpec({ width: dim, lanes }), {
    buffers: { 0: logits, 1: part, 2: hidden },
    grid: (tokens) => [Math.ceil(dim / 4 / lanes), tokens],
  });
}
