/** Names what a decode step waits for most, and why that is believed. */

import type { Limits } from "../report/report.ts";

/** What is known of a decode step; times in ms. */
export interface StepFacts {
  readonly limits: Limits;
  /** Wall time of a step. */
  readonly step: number;
  /** Steps that a submit chains: one readback serves them all. */
  readonly chained: number;
  readonly dispatches: number | undefined;
  /** Host time to prepare and submit it. */
  readonly host: number;
  /** The kernels' share of it, by the device's clock. */
  readonly share: number | undefined;
}

/** What a step needs at least for one reason. */
export interface StepCost {
  readonly name: string;
  readonly milliseconds: number;
  readonly reason: string;
}

/** Below this share of a step its largest cost does not explain it. */
const EXPLAINS = 0.5;

/** What a step costs, reason by reason; they overlap. */
export function stepCosts({ limits, chained, dispatches = 0, host }: StepFacts): StepCost[] {
  const { bytesPerToken, bandwidth, arithmeticBound, flops, dispatch, readback } = limits;
  return [
    {
      name: "memory",
      milliseconds: bytesPerToken / (bandwidth * 1e6),
      reason: `reading ${(bytesPerToken / 1e6).toFixed(2)} MB at ${bandwidth.toFixed(2)} GB/s`,
    },
    {
      name: "arithmetic",
      milliseconds: 1000 / arithmeticBound,
      reason: `${(flops / arithmeticBound).toPrecision(3)} GFLOP at ${flops.toFixed(1)} GFLOPS`,
    },
    {
      name: "dispatch",
      milliseconds: dispatches * dispatch / 1000,
      reason: `${dispatches} dispatches of ${dispatch.toFixed(1)} µs`,
    },
    { name: "host", milliseconds: host, reason: "preparing and submitting the step" },
    { name: "copies", milliseconds: readback / chained, reason: "reading the token back" },
  ];
}

/** The largest cost, or what else the step is, in a sentence. */
export function bottleneck({ step, share }: StepFacts, costs: readonly StepCost[]): string {
  const largest = costs.reduce((a, b) => b.milliseconds > a.milliseconds ? b : a);
  const { name, milliseconds, reason } = largest;
  const others = costs.filter((cost) => cost !== largest)
    .map((cost) => `${cost.name} ${percent(cost.milliseconds, step)}`).join(", ");
  const needs = `${reason} needs ${milliseconds.toFixed(3)} ms, ${percent(milliseconds, step)}`;
  const of = `a step of ${step.toFixed(3)} ms`;
  const kernels = share === undefined ? undefined : percent(Math.min(share, 1), 1);
  if (milliseconds >= EXPLAINS * step) {
    const more = kernels === undefined ? "" : `; the kernels run ${kernels} of it`;
    return `**Bottleneck: ${name}**: ${needs} of ${of} (${others}${more}).`;
  }
  const [what, most] = share === undefined
    ? ["not known", `the kernels' share of ${of} was not measured`]
    : share >= EXPLAINS
    ? ["the kernels", `they run ${kernels} of ${of}, of which no cost explains half`]
    : ["waiting", `the kernels run only ${kernels} of ${of}, of which no cost explains half`];
  return `**Bottleneck: ${what}**: ${most}; the largest, ${name}: ${needs} (${others}).`;
}

function percent(part: number, whole: number): string {
  return `${Math.round(100 * part / whole)} %`;
}
