/** Finds what limits the speed of a decode step, and the evidence for it. */

import type { Limits } from "../report/report.ts";

/** Measurements of a decode step; times in ms. */
export interface StepFacts {
  readonly limits: Limits;
  /** Wall time of a step. */
  readonly step: number;
  /** Number of steps that a submit chains. They share one readback. */
  readonly chained: number;
  readonly dispatches: number | undefined;
  /** Host time to prepare and submit a step. */
  readonly host: number;
  /** The kernels' share of a step, by the device's clock; undefined if it was not measured. */
  readonly share: number | undefined;
}

/** The minimum time of a step for one reason. */
export interface StepCost {
  readonly name: string;
  readonly milliseconds: number;
  readonly reason: string;
}

/** A cost that takes at least this share of a step explains its time. */
const EXPLAINS = 0.5;

/** The costs of a step, the largest first. They overlap in time. */
export function stepCosts({ limits, chained, dispatches = 0, host }: StepFacts): StepCost[] {
  const { bytesPerToken, bandwidth, operationsPerToken, flops, dispatch, readback } = limits;
  return [
    {
      name: "memory",
      milliseconds: bytesPerToken / (bandwidth * 1e6),
      reason: `reading ${(bytesPerToken / 1e6).toFixed(2)} MB at ${bandwidth.toFixed(2)} GB/s`,
    },
    {
      name: "arithmetic",
      milliseconds: operationsPerToken / (flops * 1e6),
      reason: `${(operationsPerToken / 1e9).toPrecision(3)} GFLOP at ${flops.toFixed(1)} GFLOPS`,
    },
    {
      name: "dispatch",
      milliseconds: dispatches * dispatch / 1000,
      reason: `${dispatches} dispatches of ${dispatch.toFixed(1)} µs`,
    },
    { name: "host", milliseconds: host, reason: "preparing and submitting the step" },
    { name: "copies", milliseconds: readback / chained, reason: "reading the token back" },
  ].sort((a, b) => b.milliseconds - a.milliseconds);
}

/** A bottleneck of a step, and the gain from removing it. */
export interface Finding {
  readonly what: string;
  readonly evidence: string;
  /** Upper bound of the speedup without this bottleneck; undefined if it is not known. */
  readonly gain: number | undefined;
}

/** The two main bottlenecks of a step, the more important one first. */
export function findings(facts: StepFacts, costs: readonly StepCost[]): [Finding, Finding] {
  const { step, share } = facts;
  const [largest, second] = costs as [StepCost, StepCost];
  const ofCost = ({ name, milliseconds, reason }: StepCost, next: number): Finding => ({
    what: name,
    evidence: `${reason} needs ${milliseconds.toFixed(3)} ms, ${
      percent(milliseconds, step)
    } of a step of ${step.toFixed(3)} ms`,
    // The step still takes as long as the next cost, which may overlap with this one.
    gain: step / Math.max(step - milliseconds, next),
  });
  const secondary = ofCost(second, largest.milliseconds);
  if (largest.milliseconds >= EXPLAINS * step) {
    return [ofCost(largest, second.milliseconds), secondary];
  }
  const next = ofCost(largest, second.milliseconds);
  const of = `a step of ${step.toFixed(3)} ms`;
  if (share === undefined) {
    const evidence =
      `no cost explains half of ${of}, and the kernels' share of it was not measured`;
    return [{ what: "not known", evidence, gain: undefined }, next];
  }
  const kernels = percent(Math.min(share, 1), 1);
  return share >= EXPLAINS
    ? [{
      what: "the kernels",
      evidence: `they run for ${kernels} of ${of}, and no single cost explains half of it`,
      // The kernels would still take as long as the largest cost.
      gain: step / (step * (1 - Math.min(share, 1)) + largest.milliseconds),
    }, next]
    : [{
      what: "waiting",
      evidence:
        `the kernels run for only ${kernels} of ${of}, and no single cost explains half of it`,
      gain: 1 / share,
    }, next];
}

/** The first finding as a sentence, followed by the share of each cost in a step. */
export function bottleneck({ step, share }: StepFacts, costs: readonly StepCost[], [first]: [
  Finding,
  Finding,
]): string {
  const all = costs.map(({ name, milliseconds }) => `${name} ${percent(milliseconds, step)}`);
  const kernels = share === undefined
    ? []
    : [`the kernels run for ${percent(Math.min(share, 1), 1)}`];
  return `**Bottleneck: ${first.what}**: ${first.evidence} (${[...all, ...kernels].join(", ")}).`;
}

function percent(part: number, whole: number): string {
  return `${Math.round(100 * part / whole)} %`;
}
