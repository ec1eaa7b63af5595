/** Names what a decode step waits for most, and why that is believed. */

import type { Environment, Limits } from "../report.ts";

/** What is known of a decode step; times in ms. */
export interface StepFacts {
  readonly limits: Limits;
  readonly model: Environment["model"];
  /** Wall time of a step. */
  readonly step: number;
  readonly dispatches: number | undefined;
  /** Host time to prepare and submit it. */
  readonly host: number;
  /** The kernels' share of it, by the device's clock. */
  readonly share: number | undefined;
}

/** One sentence. */
export function bottleneck({ limits, model, step, dispatches, host, share }: StepFacts): string {
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
      `${(2 * model.readWeights / 1e9).toFixed(3)} GFLOP at ${limits.flops.toFixed(1)} GFLOPS`,
    ],
    [
      "dispatch",
      (dispatches ?? 0) * limits.dispatch / 1000,
      `${dispatches ?? 0} dispatches of ${limits.dispatch.toFixed(1)} µs`,
    ],
    ["host", host, "preparing and submitting the step"],
    ["copies", limits.readback, "reading the token back"],
  ];
  const [name, cost, why] = costs.reduce((a, b) => b[1] > a[1] ? b : a);
  const others = costs.filter((c) => c[0] !== name)
    .map(([other, ms]) => `${other} ${percent(ms, step)}`);
  const kernels = share === undefined
    ? ""
    : `; the kernels run ${percent(share, 1)} of it, so what these do not explain is their own`;
  return `**Bottleneck: ${name}**: ${why} needs ${cost.toFixed(3)} ms, ${
    percent(cost, step)
  } of a ` +
    `step of ${step.toFixed(3)} ms (${others.join(", ")}${kernels}).`;
}

function percent(part: number, whole: number): string {
  return `${Math.round(100 * part / whole)} %`;
}
