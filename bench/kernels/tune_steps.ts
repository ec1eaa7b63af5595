/** Times how many decode steps a submit should chain, with the model itself. */

import type { Gpu } from "../../engine/gpu/device.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { Engine } from "../../engine/run/engine.ts";
import { pausesFor } from "../../engine/run/event_loop.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import type { TunedVariant, Variant } from "./tuned_variant.ts";
import type { TuneModel } from "./tune_cases.ts";

const PROMPT_TOKENS = 8;
/** Tokens of an answer: the first one, and four of the longest chains. */
const TOKENS = 33;
const CONTEXT = 64;
const ROUNDS = 3;
/**
 * Maximum duration of a chain in seconds: its tokens arrive all at once, and signals wait for it.
 */
const MOST_SECONDS = 0.1;

/**
 * Decodes the same answer with each number of chained steps; otherwise all use the tuning of the
 * first variant. Chains that take too long are not timed.
 */
export async function timeSteps(
  gpu: Gpu,
  { file, config }: TuneModel,
  { variants, own, step, signal }: {
    readonly variants: readonly Variant[];
    readonly own: string;
    readonly step: (what: string) => void;
    readonly signal: AbortSignal;
  },
): Promise<TunedVariant[]> {
  step("loading the model");
  const runner = await GpuRunner.load(gpu, { file, config }, {
    contextLength: CONTEXT,
    maxSequences: 1,
    tuning: variants[0]!.tuning,
    pause: pausesFor(signal),
  });
  // Any ids of the vocabulary: their meaning does not matter.
  const promptIds = Array.from(
    { length: PROMPT_TOKENS },
    (_, i) => (i * 31 + 1) % config.vocabSize,
  );
  const decode = async (steps: number, tokens: number) => {
    signal.throwIfAborted();
    const engine = new Engine(runner, { steps, prefixCacheBlocks: 0 });
    try {
      const [answer] = await engine.generate([{ promptIds, maxTokens: tokens, sampling: GREEDY }]);
      const { ids, timings: { tokens: times } } = answer!;
      return { ids, seconds: (times.at(-1)! - times[0]!) / 1000 / (ids.length - 1) };
    } finally {
      await engine.stop();
    }
  };
  const { ids: first, seconds } = await decode(1, 1 + 8);
  const timed = variants.filter(({ tuning: { steps } }) =>
    steps === 1 || steps * seconds <= MOST_SECONDS
  );
  const samples = new Map(timed.map((variant) => [variant, [] as number[]]));
  const wrong = new Set<Variant>();
  for (let round = 0; round < (timed.length > 1 ? ROUNDS : 0); round++) {
    for (const variant of timed) {
      step(`steps, ${variant.name}`);
      const { ids, seconds } = await decode(variant.tuning.steps, TOKENS);
      samples.get(variant)!.push(seconds);
      if (first.some((id, i) => ids[i] !== id)) wrong.add(variant);
    }
  }
  runner.readback.destroy();
  const usual = timed.find(({ name }) => name === own) ?? timed[0]!;
  return variants.map((variant) => {
    const { name } = variant;
    const times = samples.get(variant);
    if (times === undefined) return { name, fault: "a chain of so many steps takes too long" };
    if (wrong.has(variant)) return { name, fault: "it decodes different tokens" };
    return {
      name,
      ratio: timed.length > 1 ? Math.min(...times) / Math.min(...samples.get(usual)!) : 1,
    };
  });
}
