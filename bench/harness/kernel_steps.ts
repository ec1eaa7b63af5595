/** The kernels of profiled servings, step by step, less what timing each of them adds. */

import type { KernelTime } from "../../engine/run/runner.ts";
import { medianOf } from "../report/stats.ts";
import type { HostStep, Serving } from "../targets/target.ts";
import { CYCLE_SUBMITS } from "../targets/timed_runner.ts";

/** One step on the device whose kernels were timed each. */
export interface KernelStep {
  /** The submit that it was in. */
  readonly host: HostStep;
  /** Steps on the device before it in its serving. */
  readonly index: number;
  /** In the order they ran. */
  readonly kernels: readonly KernelTime[];
}

/** What profiled servings say of the kernels. */
export interface KernelSteps {
  /** Of each serving the steps whose kernels were timed each, less the overhead. */
  readonly steps: readonly (readonly KernelStep[])[];
  /** ms that timing each kernel adds to it; undefined where too few tokens were decoded to tell. */
  readonly overhead: number | undefined;
  /** The share that kernels have of a decode step that is not timed: the median of each serving. */
  readonly shares: readonly number[];
  /** The share of those named by `which`, of all servings; undefined where `overhead` is. */
  shareOf(which: (name: string) => boolean): number | undefined;
  /** The shares of each part of such a step, the median of each serving; none where no span is known. */
  readonly parts: readonly StepParts[];
}

/** What a step consists of, each part measured by itself: ms, or shares of a step that is not timed. */
export interface StepParts {
  /** By the device's clock. */
  readonly kernels: number;
  /** The host hands the step over. */
  readonly launch: number;
  /**
   * What else passes until its results are there: it starts, they are copied, the host wakes up; where
   * the host computes, it prepares the kernels and chooses the token.
   */
  readonly results: number;
  /** From a step's results until the next is handed over: the scheduler, and who reads the tokens. */
  readonly between: number;
  /** All of them. */
  readonly sum: number;
}

/** Least share of a kernel's time, when it is timed alone, that is its own. */
const LEAST_SHARE = 1 / 8;

/** Decode steps near each other, as timed_runner.ts times them; in ms. */
interface Cycle {
  /** Of a submit whose kernels were timed each. */
  readonly each: readonly KernelTime[];
  /** Of the submit timed as a whole: a step of it, and how many it chained. */
  readonly together: number;
  readonly chained: number;
  /** A step that was not timed, by the host's clock. */
  readonly plain: number;
  /** ms that timing added to each kernel of the first. */
  readonly overhead: number;
  /** The parts of a step besides kernels: `results` of the submit timed as a whole, the others of the plain one. */
  readonly others: Omit<StepParts, "kernels" | "sum"> | undefined;
}

/**
 * The steps whose kernels were timed each. A kernel in a pass of its own takes longer than among
 * others: the overhead is what such decode steps and those near them that were timed as a whole
 * differ by, for each of the kernels. It and the shares are medians over cycles, so that it does not
 * matter how the machine's speed changes between them.
 */
export function kernelSteps(servings: readonly Pick<Serving, "steps">[]): KernelSteps {
  const ofServings = servings.map(({ steps }) => steps.flatMap((_, i) => cycleAt(steps, i)));
  const cycles = ofServings.flat();
  const overhead = cycles.length === 0
    ? undefined
    : Math.max(0, medianOf(cycles.map((cycle) => cycle.overhead)));
  const share = ({ each, together, chained, plain }: Cycle, which: (name: string) => boolean) => {
    const own = lessOverhead(each, overhead!);
    const part = sumOf(own.filter(({ name }) => which(name))) / sumOf(own);
    // Timing it as a whole added to the one pass.
    return part * (together - overhead! / chained) / plain;
  };
  const sharesOf = (cycles: readonly Cycle[], which: (name: string) => boolean) =>
    cycles.map((cycle) => share(cycle, which));
  return {
    steps: servings.map(({ steps }) => stepsOf(steps, overhead ?? 0)),
    overhead,
    shares: ofServings.filter((own) => own.length > 0)
      .map((own) => medianOf(sharesOf(own, () => true))),
    parts: ofServings.flatMap((own) => partsOf(own, overhead)),
    shareOf: (which) => cycles.length === 0 ? undefined : medianOf(sharesOf(cycles, which)),
  };
}

/** The cycle that begins at `i`, if one does. */
function cycleAt(steps: readonly HostStep[], i: number): Cycle[] {
  const [first, second, third, fourth] = steps.slice(i, i + CYCLE_SUBMITS);
  if (first?.timing !== "each" || fourth?.timing !== "together") return [];
  if (first.tokens !== fourth.tokens || first.sequences !== fourth.sequences) return [];
  const { kernels: each = [] } = first;
  const { chained } = fourth;
  const together = sumOf(fourth.kernels!) / chained;
  const passes = each.length / first.chained - 1 / chained;
  const [before, plain, whole] = [second?.span, third?.span, fourth.span];
  const others = before && plain && whole && {
    launch: (plain.launched - plain.from) / third!.chained,
    results: (whole.to - whole.launched) / chained - together,
    between: (plain.from - before.to) / third!.chained,
  };
  return [{
    each,
    together,
    chained,
    plain: (third!.readEnd - second!.readEnd) / third!.chained,
    overhead: (sumOf(each) / first.chained - together) / passes,
    others,
  }];
}

/** The medians of a serving's cycles, part by part. */
function partsOf(cycles: readonly Cycle[], overhead = 0): StepParts[] {
  const all = cycles.flatMap(({ together, chained, plain, others }): StepParts[] => {
    if (others === undefined) return [];
    // Timing it as a whole added to the one pass.
    const kernels = together - overhead / chained;
    const { launch, results, between } = others;
    const sum = kernels + launch + results + between;
    const share = (ms: number) => ms / plain;
    return [{
      kernels: share(kernels),
      launch: share(launch),
      results: share(results),
      between: share(between),
      sum: share(sum),
    }];
  });
  if (all.length === 0) return [];
  const median = (part: keyof StepParts) => medianOf(all.map((one) => one[part]));
  return [{
    kernels: median("kernels"),
    launch: median("launch"),
    results: median("results"),
    between: median("between"),
    sum: median("sum"),
  }];
}

function stepsOf(hosts: readonly HostStep[], overhead: number): KernelStep[] {
  let index = 0;
  return hosts.flatMap((host) => {
    const first = index;
    index += host.chained;
    if (host.timing !== "each") return [];
    return splitSteps(lessOverhead(host.kernels!, overhead))
      .map((kernels, i) => ({ host, index: first + i, kernels }));
  });
}

/** ms of these kernels. */
export function sumOf(kernels: readonly KernelTime[]): number {
  return kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
}

/**
 * Takes `overhead` off each kernel, so that they add up to the step as a whole. It differs from pass
 * to pass, and a small kernel can be timed at less than its median: each keeps some of its time, and
 * the larger ones give the more. No kernel drops to 0, and large kernels lose only the overhead, as
 * they would not if it were spread in proportion. An empty pass takes some 1 to 5 µs on
 * hardware, where small kernels take 2 to 10, and 10 to 20 µs in software, where they take 60 and
 * more: LEAST_SHARE is met by accident alone.
 */
function lessOverhead(kernels: readonly KernelTime[], overhead: number): KernelTime[] {
  const result = [...kernels];
  let left = overhead * kernels.length;
  const shortest = kernels.map((_, i) => i)
    .sort((a, b) => kernels[a]!.milliseconds - kernels[b]!.milliseconds);
  for (const [done, i] of shortest.entries()) {
    const { name, milliseconds } = kernels[i]!;
    const taken = Math.min(left / (kernels.length - done), (1 - LEAST_SHARE) * milliseconds);
    result[i] = { name, milliseconds: milliseconds - taken };
    left -= taken;
  }
  return result;
}

/** Splits the kernels of a submit into its steps, each of which begins with the embedding. */
function splitSteps(kernels: readonly KernelTime[]): KernelTime[][] {
  const steps: KernelTime[][] = [];
  let before = "";
  for (const kernel of kernels) {
    if (kernel.name.startsWith("embed") && !before.startsWith("embed")) steps.push([]);
    steps.at(-1)?.push(kernel);
    before = kernel.name;
  }
  return steps;
}
