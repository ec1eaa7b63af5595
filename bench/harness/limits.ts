/** Computes a model's limits from the probe of the device. */

import {
  attentionOperations,
  attentionOperationsOfAll,
  kvBytesRead,
} from "../../engine/model/costs.ts";
import { KV_BYTES } from "../../kernels/sizes.ts";
import type { Limits, RunOptions } from "../report/report.ts";
import { medianInterval, medianOf } from "../report/stats.ts";
import { type Probe, PROBED, type Target } from "../targets/target.ts";

/** The rates of the device that the limits are computed from. */
export type Rates = Pick<Limits, "bandwidth" | "flops">;

/** The limits of this model. `bandwidth` replaces the measured one. */
export function limitsOf(
  probe: Probe,
  target: Target,
  { run, bandwidth: given }: { readonly run: RunOptions; readonly bandwidth?: number },
): Limits {
  const medians = Object.fromEntries(PROBED.map((name) => [name, medianOf(probe[name])])) as {
    readonly [Name in keyof Probe]: number;
  };
  const probes = Object.fromEntries(PROBED.map((name) => {
    const interval = medianInterval(probe[name]);
    return [name, { samples: [...probe[name]], ...(interval && { interval }) }];
  }));
  const bandwidth = given ?? medians.bandwidth;
  const position = run.promptTokens + run.maxTokens / 2;
  return {
    ...medians,
    bandwidth,
    source: given === undefined ? "measured" : "given",
    probes,
    position,
    ...decodeBounds(target, { ...medians, bandwidth }, { position, requests: 1 }),
  };
}

/**
 * The spread of each figure of the probe: its interval, or the range of a few samples, divided by
 * the median.
 */
export function probeSpreads({ probes, source }: Limits): (readonly [string, number])[] {
  return Object.entries(probes)
    .filter(([name]) => !(name === "bandwidth" && source === "given"))
    .map(([name, { samples, interval }]) => {
      const [low, high] = interval ?? [Math.min(...samples), Math.max(...samples)];
      const median = medianOf(samples);
      return [name, median === 0 ? 0 : (high - low) / median] as const;
    });
}

/**
 * Upper limits of tokens per second for decode steps of `requests` requests, each with `position`
 * tokens.
 */
export function decodeBounds(
  target: Target,
  { bandwidth, flops }: Rates,
  { position, requests }: { readonly position: number; readonly requests: number },
): Pick<
  Limits,
  "kvReadBytes" | "bytesPerToken" | "operationsPerToken" | "memoryBound" | "arithmeticBound"
> {
  const { model, engine } = target.environment;
  const kvReadBytes = kvBytesRead(model.layerKinds, position, KV_BYTES[engine.kvType]);
  const bytesPerToken = model.readBytes / requests + kvReadBytes + 2 * (model.states?.bytes ?? 0);
  const operationsPerToken = 2 * model.readWeights +
    attentionOperations(model.layerKinds, position) + (model.states?.operations ?? 0);
  return {
    kvReadBytes,
    bytesPerToken,
    operationsPerToken,
    memoryBound: bandwidth * 1e9 / bytesPerToken,
    arithmeticBound: flops * 1e9 / operationsPerToken,
  };
}

/**
 * Upper limit of tokens per second for `requests` prompts of this length that are processed
 * together. The weights are read at least once, and only the last token of each prompt is
 * multiplied by the output head.
 */
export function prefillBound(
  target: Target,
  { bandwidth, flops }: Rates,
  { promptTokens, requests = 1, depth = 0 }: {
    readonly promptTokens: number;
    readonly requests?: number;
    /** Number of cached tokens before the prompt. */
    readonly depth?: number;
  },
): number {
  const { model } = target.environment;
  const head = model.vocabSize * model.dim;
  const weights = (model.readWeights - head) * promptTokens + head;
  const attention = attentionOperationsOfAll(model.layerKinds, depth + promptTokens) -
    attentionOperationsOfAll(model.layerKinds, depth);
  const states = (model.states?.operations ?? 0) * promptTokens;
  const operations = 2 * weights + attention + states;
  return Math.min(
    bandwidth * 1e9 * promptTokens * requests / model.readBytes,
    flops * 1e9 * promptTokens / operations,
  );
}

/** Requests of the same length, served at once or one after the other. */
export interface Work {
  readonly requests: number;
  readonly promptTokens: number;
  readonly maxTokens: number;
  /** Whether they are served at once, so that they may share reads of the weights. */
  readonly together: boolean;
}

/**
 * Minimum time of this work in ms: the prompts, which give the first tokens, then all decode steps.
 */
export function leastTime(target: Target, rates: Rates, work: Work): number {
  const { requests, promptTokens, maxTokens, together } = work;
  const atOnce = together ? requests : 1;
  const prefill = prefillBound(target, rates, { promptTokens, requests: atOnce });
  // The average position: apart from windows, the bound is linear in the position.
  const position = promptTokens + maxTokens / 2;
  const { memoryBound, arithmeticBound } = decodeBounds(target, rates, {
    position,
    requests: atOnce,
  });
  return 1000 * requests *
    (promptTokens / prefill + (maxTokens - 1) / Math.min(memoryBound, arithmeticBound));
}
