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
  /** The kernels' share of a decode step that is not profiled; undefined where `overhead` is. */
  readonly share: number | undefined;
}

/**
 * The steps whose kernels were timed each. A kernel in a pass of its own takes longer than among
 * others: the overhead is what such decode steps and those near them that were timed as a whole
 * differ by, for each of the kernels. It and the share are the medians of all fours of steps, so
 * that it does not matter how the machine's speed changes between them.
 */
export function kernelSteps(servings: readonly Serving[]): KernelSteps {
  const fours = servings.flatMap(({ steps }) => steps.flatMap((_, i) => four(steps, i)));
  const overhead = fours.length === 0
    ? undefined
    : Math.max(0, median(fours.map((f) => (f.each - f.together) / f.passes)));
  return {
    steps: servings.map((serving) => stepsOf(serving.steps, overhead ?? 0)),
    overhead,
    share: overhead === undefined
      ? undefined
      : median(fours.map((f) => (f.each - f.passes * overhead) / f.plain)),
  };
}

/**
 * ms of one decode step in three of the ways in which four in a row were timed, and by how many
 * passes the first two differ; none if `i` does not begin such.
 */
function four(steps: readonly HostStep[], i: number) {
  const [each, first, plain, together] = steps.slice(i, i + 4);
  if (each?.timing !== "each" || together?.timing !== "together") return [];
  if (each.tokens !== together.tokens || each.sequences !== together.sequences) return [];
  const { length = 0 } = each.kernels ?? [];
  return [{
    each: sumOf(each.kernels!) / each.chained,
    plain: (plain!.readEnd - first!.readEnd) / plain!.chained,
    together: sumOf(together.kernels!) / together.chained,
    passes: length / each.chained - 1 / together.chained,
  }];
}

function median(samples: readonly number[]): number {
  return summarize(samples).median;
}

/** ms of these kernels. */
export function sumOf(kernels: readonly KernelTime[]): number {
  return kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
}

function stepsOf(hosts: readonly HostStep[], overhead: number): KernelStep[] {
  let index = 0;
  return hosts.flatMap((host) => {
    const first = index;
    index += host.chained;
    if (host.timing !== "each") return [];
    return cut(host.kernels ?? []).map((kernels, i) => ({
      host,
      index: first + i,
      kernels: kernels.map(({ name, milliseconds }) => ({
        name,
        milliseconds: Math.max(0, milliseconds - overhead),
      })),
    }));
  });
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
