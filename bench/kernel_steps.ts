/** The kernels of profiled servings, step by step, less what timing each of them adds. */

import type { KernelTime } from "../engine/gpu/pass.ts";
import { summarize } from "./stats.ts";
import type { HostStep, Serving } from "./target.ts";

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
  /**
   * The share that the kernels named by `which`, or all, have of a decode step that is not timed;
   * undefined where `overhead` is.
   */
  share(which?: (name: string) => boolean): number | undefined;
}

/** Decode steps near each other; times in ms. */
interface Four {
  /** Of a submit whose kernels were timed each. */
  readonly each: readonly KernelTime[];
  /** Steps that it chained. */
  readonly chained: number;
  /** A step that was not timed, by the host's clock. */
  readonly plain: number;
  /** ms that timing added to each kernel of the first. */
  readonly overhead: number;
}

/**
 * The steps whose kernels were timed each. A kernel in a pass of its own takes longer than among
 * others: the overhead is what such decode steps and those near them that were timed as a whole
 * differ by, for each of the kernels. It and the shares are medians over fours of steps in a row, so
 * that it does not matter how the machine's speed changes between them.
 */
export function kernelSteps(servings: readonly Serving[]): KernelSteps {
  const fours = servings.flatMap(({ steps }) => steps.flatMap((_, i) => fourAt(steps, i)));
  const overhead = fours.length === 0
    ? undefined
    : Math.max(0, summarize(fours.map((four) => four.overhead)).median);
  return {
    steps: servings.map(({ steps }) => stepsOf(steps, overhead ?? 0)),
    overhead,
    share: (which = () => true) => {
      if (overhead === undefined) return undefined;
      const shares = fours.map(({ each, chained, plain }) =>
        sumOf(less(each.filter(({ name }) => which(name)), overhead)) / chained / plain
      );
      return summarize(shares).median;
    },
  };
}

/** The four that begins at `i`, if one does; see timed_runner.ts. */
function fourAt(steps: readonly HostStep[], i: number): Four[] {
  const [first, second, third, fourth] = steps.slice(i, i + 4);
  if (first?.timing !== "each" || fourth?.timing !== "together") return [];
  if (first.tokens !== fourth.tokens || first.sequences !== fourth.sequences) return [];
  const { kernels: each = [], chained } = first;
  const together = sumOf(fourth.kernels!) / fourth.chained;
  const passes = each.length / chained - 1 / fourth.chained;
  return [{
    each,
    chained,
    plain: (third!.readEnd - second!.readEnd) / third!.chained,
    overhead: (sumOf(each) / chained - together) / passes,
  }];
}

function stepsOf(hosts: readonly HostStep[], overhead: number): KernelStep[] {
  let index = 0;
  return hosts.flatMap((host) => {
    const first = index;
    index += host.chained;
    if (host.timing !== "each") return [];
    return cut(less(host.kernels!, overhead))
      .map((kernels, i) => ({ host, index: first + i, kernels }));
  });
}

/** ms of these kernels. */
export function sumOf(kernels: readonly KernelTime[]): number {
  return kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
}

function less(kernels: readonly KernelTime[], overhead: number): KernelTime[] {
  return kernels.map(({ name, milliseconds }) => ({
    name,
    milliseconds: Math.max(0, milliseconds - overhead),
  }));
}

/** Cuts the kernels of a submit into its steps, each of which begins with the embedding. */
function cut(kernels: readonly KernelTime[]): KernelTime[][] {
  const steps: KernelTime[][] = [];
  let before = "";
  for (const kernel of kernels) {
    if (kernel.name.startsWith("embed") && !before.startsWith("embed")) steps.push([]);
    steps.at(-1)?.push(kernel);
    before = kernel.name;
  }
  return steps;
}
