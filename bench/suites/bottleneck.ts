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

/** Below this share of a step its largest cost does not explain it. */
const EXPLAINS = 0.5;

/** One sentence. */
export function bottleneck(facts: StepFacts): string {
  const { limits, step, chained, dispatches = 0, host, share } = facts;
  const costs: (readonly [string, number, string])[] = [
    [
      "memory",
      limits.bytesPerToken / (limits.bandwidth * 1e6),
      `reading ${(limits.bytesPerToken / 1e6).toFixed(2)} MB at ${
        limits.bandwidth.toFixed(2)
      } GB/s`,
    ],
    [
      "arithmetic",
      1000 / limits.arithmeticBound,
      `${(limits.flops / limits.arithmeticBound).toPrecision(3)} GFLOP at ${
        limits.flops.toFixed(1)
      } GFLOPS`,
    ],
    [
      "dispatch",
      dispatches * limits.dispatch / 1000,
      `${dispatches} dispatches of ${limits.dispatch.toFixed(1)} µs`,
    ],
    ["host", host, "preparing and submitting the step"],
    ["copies", limits.readback / chained, "reading the token back"],
  ];
  const [name, cost, why] = costs.reduce((a, b) => b[1] > a[1] ? b : a);
  const others = costs.filter((c) => c[0] !== name)
    .map(([other, ms]) => `${other} ${percent(ms, step)}`).join(", ");
  const needs = `${why} needs ${cost.toFixed(3)} ms, ${percent(cost, step)}`;
  const of = `a step of ${step.toFixed(3)} ms`;
  const kernels = share === undefined ? undefined : percent(Math.min(share, 1), 1);
  if (cost >= EXPLAINS * step) {
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
