/**
 * A layer's feed-forward network of routed experts: a router chooses some for each token, whose
 * results are added by their weights. Shazeer et al., https://arxiv.org/abs/1701.06538.
 */

import { groupSlotsSpec } from "../../kernels/expert_specs.ts";
import { slotsTogether } from "../../kernels/tuning.ts";
import type { ExpertScratch } from "./scratch.ts";
import type { Operation, OperationBuilder } from "./operations.ts";
import type { ExpertConfig } from "../model/config.ts";
import type { LayerWeight } from "../model/weight_names.ts";
import type { Weights } from "./weights.ts";

/** The operations of one layer, from the residual stream to the residual stream. */
export function expertFeedForward(
  blocks: OperationBuilder,
  weights: Weights,
  config: ExpertConfig,
  scratch: ExpertScratch,
  name: (weight: LayerWeight) => string,
): Operation[] {
  const { scratch: { hidden, gated }, config: { dim } } = blocks;
  const { count, used: slots, ffnDim } = config;
  const { logits, routes, entries, parts } = scratch;
  const input = { x: hidden, norm: weights.vector(name("ffnNorm")), over: "tokens" } as const;
  const router = weights.matrix(name("router"));
  const experts = { count, slots, routes, entries };
  const [gates, ups] = [name("expertGates"), name("expertUps")];
  const gating = { ...input, y: gated, stride: ffnDim, experts: { ...experts, perSlot: false } };
  return [
    ...blocks.matmul(router, { ...input, y: logits, stride: count }),
    blocks.topK(config, scratch),
    groupSlots(blocks, experts),
    ...weights.type(gates) === weights.type(ups)
      ? blocks.matmul(weights.experts(gates, ups), { ...gating, gate: "both" })
      : [
        ...blocks.matmul(weights.experts(gates), gating),
        ...blocks.matmul(weights.experts(ups), { ...gating, gate: "ups" }),
      ],
    ...blocks.matmul(weights.experts(name("expertDowns")), {
      x: gated,
      y: parts,
      stride: dim,
      over: "tokens",
      experts: { ...experts, perSlot: true },
    }),
    blocks.combine(config, scratch),
  ];
}

/** Sorts the slots by expert, in steps where the products serve several of one at a time. */
export function groupSlots(
  { pipelines, tuning, scratch: { metadata } }: OperationBuilder,
  { count, slots, routes, entries }: {
    readonly count: number;
    readonly slots: number;
    readonly routes: GPUBuffer;
    readonly entries: GPUBuffer;
  },
): Operation {
  const lanes = tuning.elementLanes;
  const pipeline = (together: number) =>
    pipelines.get(groupSlotsSpec({ experts: count, slots, tokens: together, lanes }));
  const group = pipelines.bind(pipeline(1), { 0: routes, 1: entries, 2: metadata });
  return {
    over: "tokens",
    at: (tokens) => {
      const together = slotsTogether(tuning, { count, slots }, tokens);
      return { pipeline: pipeline(together), group, workgroups: [together > 1 ? 1 : 0, 1] };
    },
  };
}
