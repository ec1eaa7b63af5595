/**
 * The feed-forward network of a layer with routed experts. A router chooses some experts for each
 * token; their weighted results are added. Shazeer et al., https://arxiv.org/abs/1701.06538.
 */

import { groupSlotsSpec } from "../../kernels/expert_specs.ts";
import { slotsTogether } from "../../kernels/tuning.ts";
import type { ExpertsSpec } from "../model/config.ts";
import { addShared, relu2 } from "./gates.ts";
import type { Operation } from "./operation.ts";
import type { LayerContext, OperationBuilder, Product } from "./operations.ts";

/**
 * Returns the operations of one layer's feed-forward network. They read the residual stream and add
 * to it.
 *
 * @param postNorm the norm to apply to the sum before it is added, if the layer has one
 */
export function expertFeedForward(
  { build, weights, name }: LayerContext,
  spec: ExpertsSpec,
  postNorm: "ffnPostNorm" | undefined,
): Operation[] {
  const { scratch: { hidden, gated, branch, experts: scratch }, context: { dim } } = build;
  const { count, used: slots, width, activation } = spec;
  const { logits, routes, entries, parts } = scratch!;
  const input = { x: hidden, norm: weights.vector(name("ffnNorm")), over: "tokens" } as const;
  const act = activation === "relu2" ? {} : { activation };
  const router = weights.matrix(name("router"));
  const experts = { count, slots, routes, entries };
  const bias = spec.sigmoid && weights.vector(name("routerBias"));
  const [gates, ups] = [name("expertGates"), name("expertUps")];
  const gating = {
    ...input,
    y: gated,
    stride: width,
    ...act,
    experts: { ...experts, perSlot: false },
  };
  return [
    // First, because it reads the residual stream, to which the experts add later.
    ...spec.shared ? sharedExpert({ build, weights, name }, spec, { ...input, ...act }) : [],
    ...build.matmul(router, { ...input, y: logits, stride: count }),
    build.topK(spec, { logits, routes, bias }),
    groupSlots(build, experts),
    ...spec.gateless
      ? [
        ...build.matmul(weights.experts(ups), gating),
        relu2(build, gated, slots * width),
      ]
      : weights.type(gates) === weights.type(ups)
      ? build.matmul(weights.experts(gates, ups), { ...gating, gate: "both" })
      : [
        ...build.matmul(weights.experts(gates), gating),
        ...build.matmul(weights.experts(ups), { ...gating, gate: "ups" }),
      ],
    ...build.matmul(weights.experts(name("expertDowns")), {
      x: gated,
      y: parts,
      stride: dim,
      over: "tokens",
      experts: { ...experts, perSlot: true },
    }),
    ...postNorm === undefined ? [build.combine(slots, scratch!, { y: hidden, add: true })] : [
      build.combine(slots, scratch!, { y: branch!, add: false }),
      build.normAdd(branch!, weights.vector(name(postNorm))),
    ],
    ...spec.shared ? addSharedExpert({ build, weights, name }, spec) : [],
  ];
}

/** Adds the result of the shared expert to the residual stream. */
function addSharedExpert(
  { build, weights, name }: LayerContext,
  { shared }: ExpertsSpec,
): Operation[] {
  const { scratch: { hidden, experts }, context: { dim } } = build;
  if (!shared!.always) return [addShared(build, experts!.shared!)];
  const down = weights.matrix(name("sharedDown"));
  const output = { y: hidden, stride: dim, over: "tokens", accumulate: true } as const;
  return build.matmul(down, { x: experts!.shared!.gated, ...output });
}

/**
 * Computes the result of the shared expert and its router logit. If the expert is always added, it
 * only computes the input of the down projection.
 */
function sharedExpert(
  { build, weights, name }: LayerContext,
  { shared, gateless }: ExpertsSpec,
  input: Omit<Product, "y" | "stride">,
): Operation[] {
  const { width, always = false } = shared!;
  const { scratch: { experts }, context: { dim } } = build;
  const { logits, gated, part } = experts!.shared!;
  const [gate, up] = [name("sharedGate"), name("sharedUp")];
  const gating = { ...input, y: gated, stride: width };
  return [
    ...always
      ? []
      : build.matmul(weights.matrix(name("sharedRouter")), { ...input, y: logits, stride: 1 }),
    ...gateless
      ? [...build.matmul(weights.matrix(up), gating), relu2(build, gated, width)]
      : weights.type(gate) === weights.type(up)
      ? build.matmul(weights.gateUp(gate, up), { ...gating, gate: "both" })
      : [
        ...build.matmul(weights.matrix(gate), gating),
        ...build.matmul(weights.matrix(up), { ...gating, gate: "ups" }),
      ],
    ...always ? [] : build.matmul(weights.matrix(name("sharedDown")), {
      ...{ x: gated, y: part, stride: dim, over: "tokens" },
    }),
  ];
}

/**
 * Sorts the slots by expert. It launches nothing in steps whose products serve one slot at a time.
 */
export function groupSlots(
  build: OperationBuilder,
  { count, slots, routes, entries }: {
    readonly count: number;
    readonly slots: number;
    readonly routes: GPUBuffer;
    readonly entries: GPUBuffer;
  },
): Operation {
  const { pipelines, tuning, scratch: { metadata } } = build;
  const lanes = tuning.elementLanes;
  const pipeline = (together: number) =>
    pipelines.get(groupSlotsSpec({ experts: count, slots, tokens: together, lanes }));
  for (const together of build.tokenCounts({ count, slots })) pipeline(together);
  const group = pipelines.bind(pipeline(1), { 0: routes, 1: entries, 2: metadata });
  return {
    over: "tokens",
    at: (tokens) => {
      const together = slotsTogether(tuning, { count, slots }, tokens);
      return { pipeline: pipeline(together), group, workgroups: [together > 1 ? 1 : 0, 1] };
    },
  };
}
