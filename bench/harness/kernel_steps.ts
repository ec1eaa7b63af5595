/** The kernels of profiled servings, step by step, without the overhead of timing them. */

import type { KernelTime } from "../../engine/run/runner.ts";
import { medianOf } from "../report/stats.ts";
import type { HostStep, Serving } from "../targets/target.ts";
import { CYCLE_SUBMITS } from "../targets/timed_runner.ts";

/** A step on the device whose kernels were timed one by one. */
export interface KernelStep {
  /** The submit that contained the step. */
  readonly host: HostStep;
  /** Number of steps on the device before it in its serving. */
  readonly index: number;
  /** In the order in which they ran. */
  readonly kernels: readonly KernelTime[];
}

/** What profiled servings show about the kernels. */
export interface KernelSteps {
  /** For each serving, the steps whose kernels were timed one by one, without the overhead. */
  readonly steps: readonly (readonly KernelStep[])[];
  /** ms that timing adds to a kernel; undefined if too few tokens were decoded to measure it. */
  readonly overhead: number | undefined;
  /** The kernels' share of an untimed decode step: the median of each serving. */
  readonly shares: readonly number[];
  /**
   * The share of the kernels that `which` selects, over all servings; undefined if `overhead` is.
   */
  shareOf(which: (name: string) => boolean): number | undefined;
  /**
   * The shares of the parts of an untimed step: the medians of each serving. Empty if no spans are
   * known.
   */
  readonly parts: readonly StepParts[];
}

/** The parts of a step, each measured by itself: in ms, or as shares of an untimed step. */
export interface StepParts {
  /** The kernels, by the device's clock. */
  readonly kernels: number;
  /** The host submits the step. */
  readonly launch: number;
  /**
   * The rest of the time until the results arrive: the step starts, the results are copied, and the
   * host wakes up. If the host computes, it prepares the kernels and chooses the token.
   */
  readonly results: number;
  /** From the results of a step until the next one is submitted: the scheduler and the consumer. */
  readonly between: number;
  /** The sum of all parts. */
  readonly sum: number;
}

/** A kernel keeps at least this share of its measured time when the overhead is subtracted. */
const LEAST_SHARE = 1 / 8;

/**
 * One profiling cycle (see timed_runner.ts): decode submits that follow each other. Times in ms.
 */
interface Cycle {
  /** The kernels of the submit whose kernels were timed one by one. */
  readonly each: readonly KernelTime[];
  /**
   * Time of the kernels of a step in the submit timed as a whole, and the steps that this submit
   * chained.
   */
  readonly together: number;
  readonly chained: number;
  /** Duration of an untimed step, by the host's clock. */
  readonly plain: number;
  /** ms that timing added to each kernel of `each`. */
  readonly overhead: number;
  /**
   * The parts of a step besides the kernels: `results` from the submit timed as a whole, the others
   * from the untimed one.
   */
  readonly others: Omit<StepParts, "kernels" | "sum"> | undefined;
}

/**
 * Returns the steps whose kernels were timed one by one, and what follows from them. A kernel takes
 * longer in a pass of its own than among others. The overhead per kernel is the difference between
 * steps timed that way and nearby steps timed as a whole, divided by the number of extra passes.
 * Overhead and shares are medians over cycles, so changes in the machine's speed from cycle to
 * cycle do not matter.
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
    // Timing the submit as a whole adds the overhead once, to its only pass.
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

/** The cycle that begins with the submit `i`, if there is one. */
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

/** The medians of each part over the cycles of a serving. */
function partsOf(cycles: readonly Cycle[], overhead = 0): StepParts[] {
  const all = cycles.flatMap(({ together, chained, plain, others }): StepParts[] => {
    if (others === undefined) return [];
    // Timing the submit as a whole adds the overhead once, to its only pass.
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

/** Sum of the times of these kernels in ms. */
export function sumOf(kernels: readonly KernelTime[]): number {
  return kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
}

/**
 * Subtracts `overhead` from each kernel, so that the sum is that of the step timed as a whole. The
 * overhead differs from pass to pass, and a small kernel can take less than the median overhead.
 * Each kernel therefore keeps LEAST_SHARE of its time, and the larger ones lose the rest of the
 * total. No kernel drops to 0, and large kernels lose only the overhead, as they would not if it
 * were spread in proportion. An empty pass takes about 1 to 5 µs on hardware, where small kernels
 * take 2 to 10 µs, and 10 to 20 µs in software, where they take 60 µs and more, so kernels rarely
 * reach LEAST_SHARE.
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

/** Splits the kernels of a submit into its steps. Each step begins with the embedding. */
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
