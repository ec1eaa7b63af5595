/** The operations of a layer's experts, once its router has run. */

import { topExperts } from "../../kernels/reference.ts";
import { COMBINE } from "../../kernels/wasm/rows.ts";
import type { ExpertsSpec } from "../model/config.ts";
import { addPostNorm, firstOfExperts, prepareActivated } from "./layers.ts";
import type { Model, StepShape } from "./model.ts";
import { areFew, type OperationList, type ProgramContext, ProgramWriter } from "./program.ts";
import { padded, slotsOf } from "./scratch.ts";
import type { ExpertWeights } from "./weights.ts";

/** h += Σ weight · expert(x) over each token's experts, in order of their indices. */
export function expertProgram(
  context: ProgramContext,
  { config, weights }: Model,
  { layer, tokens, apart }: Pick<StepShape, "tokens" | "apart"> & { readonly layer: number },
): OperationList {
  const { scratch, index: kernels, memory } = context;
  const spec = config.layers[layer]!.feedForward as ExpertsSpec;
  const { feedForward, ffnPostNorm } = weights.layers[layer]!;
  const expertWeights = feedForward as ExpertWeights;
  const { gates, ups, downs, shared } = expertWeights;
  const writer = new ProgramWriter(context, scratch.routed, apart);
  const slots = slotsOf(spec);
  const rows = tokens * slots;
  const few = areFew(tokens);
  // The activations as they were prepared before the router.
  const prepared = writer.prepared(
    firstOfExperts(expertWeights),
    few ? scratch.own : scratch.shared,
  );
  const byExpert = route(context, spec, { tokens, bias: expertWeights.routerBias });
  if (shared) weighShared(context, { slots, tokens, router: shared.router, x: prepared.rows.row });

  const each = (multiply: (expert: number, count: number, at: number) => void) => {
    let at = 0;
    for (const [expert, own] of byExpert) {
      multiply(expert, own.length, 4 * at);
      at += own.length;
    }
    writer.join();
  };
  let at = 0;
  for (const own of byExpert.values()) {
    for (const row of own) {
      memory.words[scratch.xRows / 4 + at] = Math.floor(row / slots);
      memory.words[scratch.yRows / 4 + at++] = row;
    }
  }
  each((expert, count, at) => {
    const numbers = { xRows: scratch.xRows + at, yRows: scratch.yRows + at };
    const stride = scratch.gateStride;
    if (gates) {
      writer.multiply(gates[expert]!, prepared, {
        ...{ tokens: count, y: scratch.gate, stride, numbers },
      });
    }
    writer.multiply(ups[expert]!, prepared, { tokens: count, y: scratch.up, stride, numbers });
  });
  const gated = prepareActivated(writer, spec, {
    ...{ units: rows, few, down: downs[0]! },
    ...{ gate: scratch.gate, up: scratch.up, stride: scratch.gateStride },
  });
  each((expert, count, at) => {
    const numbers = { xRows: scratch.yRows + at, yRows: scratch.yRows + at };
    const output = { y: scratch.expertRows, stride: scratch.hiddenStride };
    writer.multiply(downs[expert]!, gated, { tokens: count, ...output, numbers });
  });
  if (shared) {
    // After the indices of the routed experts' rows: the row of y for each token's shared expert.
    const yRows = scratch.yRows + 4 * (rows - tokens);
    for (let token = 0; token < tokens; token++) {
      memory.words[yRows / 4 + token] = token * slots + spec.used;
    }
    const { activation } = spec;
    const sharedGated = prepareActivated(writer, { width: spec.shared!.width, activation }, {
      ...{ units: tokens, few, down: shared.down },
      ...{ gate: scratch.sharedGate, up: scratch.sharedUp, stride: scratch.sharedStride },
    });
    writer.multiply(shared.down, sharedGated, {
      tokens,
      y: scratch.expertRows,
      stride: scratch.hiddenStride,
      numbers: { xRows: scratch.identity, yRows },
    });
    writer.join();
  }
  writer.add(kernels.combine, { units: tokens }, {
    fields: COMBINE,
    values: {
      used: slots,
      padded: padded(config.dim),
      stride: scratch.hiddenStride,
      outStride: scratch.hiddenStride,
      accumulate: ffnPostNorm === 0 ? 1 : 0,
      rows: scratch.expertRows,
      weights: scratch.expertWeights,
      out: ffnPostNorm === 0 ? scratch.hidden : scratch.added,
    },
  });
  writer.join();
  if (ffnPostNorm !== 0) addPostNorm(writer, config, { weight: ffnPostNorm, tokens });
  return writer;
}

/** Writes the weight of each token's shared expert: sigmoid(router · x), or 1 without a router. */
function weighShared(
  { scratch, memory }: ProgramContext,
  { slots, tokens, router, x }: {
    readonly slots: number;
    readonly tokens: number;
    /** Addresses of the router's vector [dim], or 0, and of the tokens' rows. */
    readonly router: number;
    readonly x: number;
  },
): void {
  const columns = scratch.hiddenStride / 4;
  const weights = memory.floatsAt(router, columns);
  for (let token = 0; token < tokens; token++) {
    const row = memory.floatsAt(x + token * scratch.rowStride, columns);
    const logit = router === 0
      ? Infinity
      : weights.reduce((sum, weight, i) => sum + weight * row[i]!, 0);
    memory.floats[scratch.expertWeights / 4 + (token + 1) * slots - 1] = 1 / (1 + Math.exp(-logit));
  }
}

/**
 * Writes the weight of each row [tokens, slots], and returns the rows of each expert that has any.
 */
function route(
  { scratch, memory }: ProgramContext,
  spec: ExpertsSpec,
  { tokens, bias }: { readonly tokens: number; readonly bias: Float32Array | undefined },
): Map<number, number[]> {
  const { count, used, normalized, sigmoid } = spec;
  const rule = {
    count: used,
    normalized,
    ...(sigmoid && { sigmoid: { bias: bias!, scale: sigmoid.scale } }),
  };
  const byExpert = new Map<number, number[]>();
  for (let token = 0; token < tokens; token++) {
    const logits = memory.floatsAt(scratch.router + token * scratch.routerStride, count);
    const chosen = topExperts(logits, rule).sort((a, b) => a.expert - b.expert);
    for (const [slot, { expert, weight }] of chosen.entries()) {
      const row = token * slotsOf(spec) + slot;
      memory.floats[scratch.expertWeights / 4 + row] = weight;
      const own = byExpert.get(expert);
      if (own) own.push(row);
      else byExpert.set(expert, [row]);
    }
  }
  return byExpert;
}
