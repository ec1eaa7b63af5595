/** Times the variants of each kernel family on a device, and chooses the fastest. */

import type { Tuning } from "../../kernels/tuning.ts";
import {
  chosenTuning,
  TUNED_FAMILIES,
  type TunedFamily,
  type TuningChoices,
  tuningVariants,
} from "../../kernels/tuning_variants.ts";
import type { Gpu } from "../../engine/gpu/device.ts";
import { KernelHarness } from "../../engine/gpu/self_test/kernel_harness.ts";
import { checkKernels } from "../../engine/gpu/self_test/self_test.ts";
import { attentionsOf } from "../../engine/model/mixers.ts";
import { pausesFor } from "../../engine/run/event_loop.ts";
import { type TuneCase, TuneCases, type TuneModel } from "./tune_cases.ts";
import { timeSteps } from "./tune_steps.ts";
import { fastest, type TunedResult, type TunedVariant, type Variant } from "./tuned_variant.ts";

/** Samples of each variant in each case, interleaved. */
const ROUNDS = 5;
/** ms that a sample takes. The number of calls is chosen accordingly. */
const SAMPLE_MS = 10;

/** How a tuning is done. */
export interface TuneOptions {
  /** The default launch sizes, from which tuning starts. */
  readonly usual: Tuning;
  /** Called before each piece of work, of which there are about `total`. */
  readonly progress: (done: number, total: number, what: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Checks and times the variants of all families. Each family uses the choices for those before it.
 */
export async function* tune(
  gpu: Gpu,
  model: TuneModel,
  { usual, progress, signal }: TuneOptions,
): AsyncGenerator<TunedResult> {
  const { config } = model;
  const attentions = attentionsOf(config.layers);
  const widest = (width: (mixer: typeof attentions[0]) => number) =>
    Math.max(1, ...attentions.map(width));
  const sizes = {
    dim: Math.max(1024, config.dim),
    heads: widest((m) => m.heads),
    qkvDim: Math.max(2048, widest((m) => (m.heads + 2 * m.kvHeads) * m.headDim)),
    queryDim: Math.max(1024, widest((m) => m.heads * m.headDim)),
    vocabSize: Math.max(8192, config.vocabSize),
    sampleChunks: Math.max(64, Math.ceil(config.vocabSize / usual.sampleChunk)),
  };
  const harness = await KernelHarness.create(gpu, usual, { sizes, pause: pausesFor(signal) });
  const cases = new TuneCases(harness, model);
  const all = tuningVariants(gpu.driver);
  const total = TUNED_FAMILIES.reduce((sum, family) => sum + all[family].size, 0);
  let done = 0;
  const step = (what: string) => {
    signal.throwIfAborted();
    progress(done++, total, what);
  };
  let tuning = usual;
  let choices: TuningChoices = {};
  for (const family of TUNED_FAMILIES) {
    if (all[family].size === 0) continue;
    const variants = [...all[family]].map(([name, change]) => ({ name, tuning: change(tuning) }));
    const same = JSON.stringify(tuning);
    const own = variants.find((variant) => JSON.stringify(variant.tuning) === same)!.name;
    if (family === "steps") harness.release(); // Frees memory for the model.
    const results = family === "steps"
      ? await timeSteps(gpu, model, { variants, own, step, signal })
      : await timeFamily({ harness, cases }, family, { variants, own, step });
    const chosen = fastest(results, own);
    choices = { ...choices, [family]: chosen };
    tuning = chosenTuning(usual, gpu.driver, choices);
    yield { family, variants: results, usual: own, chosen };
  }
}

async function timeFamily(
  { harness, cases }: { readonly harness: KernelHarness; readonly cases: TuneCases },
  family: TunedFamily,
  { variants, own, step }: {
    readonly variants: readonly Variant[];
    readonly own: string;
    readonly step: (what: string) => void;
  },
): Promise<TunedVariant[]> {
  const checked: (Variant & { readonly fault?: string })[] = [];
  for (const variant of variants) {
    step(`${family}, ${variant.name}`);
    const fault = await faultOf(harness.with(variant.tuning), family, cases);
    checked.push({ ...variant, ...(fault !== undefined && { fault }) });
  }
  const sound = checked.filter(({ fault }) => fault === undefined);
  const ratios = sound.some(({ name }) => name === own)
    ? await compare(cases.of(family), sound.map(({ tuning }) => harness.with(tuning)), {
      usual: sound.findIndex(({ name }) => name === own),
    })
    : [];
  return checked.map(({ name, fault }) => {
    if (fault !== undefined) return { name, fault };
    const ratio = ratios[sound.findIndex((variant) => variant.name === name)];
    return { name, ...(ratio !== undefined && { ratio }) };
  });
}

/** The fault in a variant's results; undefined if they are correct. */
async function faultOf(
  harness: KernelHarness,
  family: TunedFamily,
  cases: TuneCases,
): Promise<string | undefined> {
  const { select, tokens } = checksOf(family, cases);
  for await (const { name, passed, error, message } of checkKernels(harness, { select, tokens })) {
    if (!passed) return message ?? `${name} is off by ${error.toExponential(1)}`;
  }
  return undefined;
}

/** The parts of the self-test that the variants of a family must pass. */
function checksOf(family: TunedFamily, cases: TuneCases) {
  const of = (kernel: string) => cases.types.map((type) => `${kernel} ${type}`);
  const names: Record<TunedFamily, readonly string[]> = {
    products: [...of("matmul"), ...(cases.hasExperts ? ["experts"] : [])],
    prompts: of("matmul"),
    attention: ["attention f16", "attention f32"],
    elements: [...of("embed"), "rope_append f16", "rope_append f32", "norm_add"],
    sampling: ["sampling"],
    steps: [],
  };
  return {
    select: (name: string) => names[family].includes(name),
    tokens: family === "prompts" ? [9, 17, 33] : [2, 4, 8],
  };
}

/**
 * The time of each harness relative to the usual one: the geometric mean over all cases of the
 * ratios of their shortest samples, which are interleaved.
 */
async function compare(
  cases: readonly TuneCase[],
  harnesses: readonly KernelHarness[],
  { usual }: { readonly usual: number },
): Promise<number[]> {
  const sums = harnesses.map(() => 0);
  for (const { batch, calls, prepare } of cases) {
    const prepared = harnesses.map((harness) => {
      const at = prepare(harness);
      return async (count: number) => {
        const dispatches = Array.from({ length: count }, (_, i) => at(i % calls));
        return await harness.time(batch, () => dispatches.flat()) / count;
      };
    });
    let count = 1;
    for (const time of prepared) {
      await time(1); // compiles
      count = Math.max(count, Math.min(calls, Math.ceil(SAMPLE_MS / await time(1))));
    }
    const samples = harnesses.map((): number[] => []);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, time] of prepared.entries()) samples[i]!.push(await time(count));
    }
    // The shortest sample: other programs only make samples longer.
    const best = samples.map((times) => Math.min(...times));
    for (const [i, time] of best.entries()) sums[i]! += Math.log(time / best[usual]!);
  }
  return cases.length === 0 ? [] : sums.map((sum) => Math.exp(sum / cases.length));
}
