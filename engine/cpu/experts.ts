/** The operations of a layer's experts, once its router has run. */

import { topExperts } from "../../kernels/reference.ts";
import { GATE } from "../../kernels/wasm/prepare.ts";
import { COMBINE } from "../../kernels/wasm/rows.ts";
import type { ExpertsSpec } from "../model/config.ts";
import { addPostNorm, type Model, type StepShape } from "./layers.ts";
import { areFew, type OperationList, type ProgramContext, ProgramWriter } from "./program.ts";
import { padded } from "./scratch.ts";
import type { ExpertWeights } from "./weights.ts";

/** h += Σ weight · expert(x) over each token's experts, in order of their numbers. */
export function expertProgram(
  context: ProgramContext,
  { config, weights }: Model,
  { layer, tokens, apart }: Pick<StepShape, "tokens" | "apart"> & { readonly layer: number },
): OperationList {
  const { scratch, index: kernels, memory } = context;
  const spec = config.layers[layer]!.feedForward as ExpertsSpec;
  const { feedForward, ffnPostNorm } = weights.layers[layer]!;
  const { router, gates, ups, downs } = feedForward as ExpertWeights;
  const writer = new ProgramWriter(context, scratch.routed, apart);
  const rows = tokens * spec.used;
  const byExpert = route(context, spec, tokens);

  // As the preparation before the router left them.
  const few = areFew(tokens);
  const prepared = writer.prepared(
    [router, gates[0]!, ups[0]!],
    few ? scratch.own : scratch.shared,
  );
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
      memory.words[scratch.xRows / 4 + at] = Math.floor(row / spec.used);
      memory.words[scratch.yRows / 4 + at++] = row;
    }
  }
  each((expert, count, at) => {
    const numbers = { xRows: scratch.xRows + at, yRows: scratch.yRows + at };
    const stride = scratch.gateStride;
    writer.multiply(gates[expert]!, prepared, { tokens: count, y: scratch.gate, stride, numbers });
    writer.multiply(ups[expert]!, prepared, { tokens: count, y: scratch.up, stride, numbers });
  });
  const gated = writer.prepare(
    kernels.gates.get(spec.activation)!,
    { units: rows, few, matrices: [downs[0]!] },
    {
      fields: GATE,
      values: {
        columns: spec.width,
        fromStride: scratch.gateStride,
        gate: scratch.gate,
        up: scratch.up,
      },
    },
  );
  each((expert, count, at) => {
    const numbers = { xRows: scratch.yRows + at, yRows: scratch.yRows + at };
    const output = { y: scratch.expertRows, stride: scratch.hiddenStride };
    writer.multiply(downs[expert]!, gated, { tokens: count, ...output, numbers });
  });
  writer.add(kernels.combine, { units: tokens }, {
    fields: COMBINE,
    values: {
      used: spec.used,
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

/** The rows [tokens, used] of each expert that has any. */
function route(
  { scratch, memory }: ProgramContext,
  { count, used, normalized }: ExpertsSpec,
  tokens: number,
): Map<number, number[]> {
  const byExpert = new Map<number, number[]>();
  for (let token = 0; token < tokens; token++) {
    const logits = memory.floatsAt(scratch.router + token * scratch.routerStride, count);
    const chosen = topExperts(logits.slice(), used, normalized).sort((a, b) => a.expert - b.expert);
    for (const [slot, { expert, weight }] of chosen.entries()) {
      const row = token * used + slot;
      memory.floats[scratch.expertWeights / 4 + row] = weight;
      const own = byExpert.get(expert);
      if (own) own.push(row);
      else byExpert.set(expert, [row]);
    }
  }
  return byExpert;
}
