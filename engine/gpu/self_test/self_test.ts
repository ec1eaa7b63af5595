/**
 * The test that `tvllm devices --check` runs: a few representative cases of every kernel family.
 */

import { GROUP_LAYOUT, type TensorType } from "../../../kernels/tensor_types.ts";
import { type Tuning, tuningFor } from "../../../kernels/tuning.ts";
import { RandomSource } from "../../files/random_weights.ts";
import type { Gpu } from "../device.ts";
import { type Pause, pausesFor } from "../../run/event_loop.ts";
import { sampleToken } from "../../run/sampler.ts";
import { multipliesBytes } from "../activation_planes.ts";
import { type ChoiceCase, chooseOnDevice } from "./choices.ts";
import { GREEDY } from "../../run/runner.ts";
import { combineError, expertsError, topKError } from "./experts.ts";
import { attentionError, normAddError, ropeAppendError } from "./heads.ts";
import { embedError, floats, maxError, productError } from "./products.ts";
import { KernelHarness } from "./kernel_harness.ts";
import { convolutionError, gatesError, stateError, stateNormError } from "./recurrent.ts";

/** The result of one kernel family. */
export interface CheckResult {
  /** The kernel and, if it has several, the format. */
  readonly name: string;
  readonly passed: boolean;
  /**
   * Largest error, relative to the magnitudes that were added up; for sampling, the share of wrong
   * tokens.
   */
  readonly error: number;
  readonly tolerance: number;
  /** The error, if running the kernel failed. */
  readonly message?: string;
}

/** What to check; default a few representative cases of every family. */
export interface SelfTestOptions {
  readonly select?: (name: string) => boolean;
  /** Further numbers of tokens for matrix products; each may use another kernel. */
  readonly tokens?: readonly number[];
}

/** Checks every kernel family with these launch sizes against the float64 reference. */
export async function* selfTest(
  gpu: Gpu,
  options: SelfTestOptions & {
    readonly tuning?: Tuning;
    /** Called before each case; an error that it throws ends the test. */
    readonly pause?: Pause;
  } = {},
): AsyncGenerator<CheckResult> {
  const { tuning = tuningFor(gpu.driver), pause = pausesFor() } = options;
  yield* checkKernels(await KernelHarness.create(gpu, tuning, { pause }), options);
}

/** The same as `selfTest`, with an existing harness. */
export async function* checkKernels(
  harness: KernelHarness,
  { select = () => true, tokens = [] }: SelfTestOptions = {},
): AsyncGenerator<CheckResult> {
  for (const [name, tolerance, run] of families(harness, tokens)) {
    if (!select(name)) continue;
    let error = Infinity;
    let message: string | undefined;
    try {
      error = await run();
    } catch (thrown) {
      await harness.pause(); // Throws again if the error came from `pause`.
      message = String(thrown);
    }
    yield {
      name,
      passed: error <= tolerance,
      error,
      tolerance,
      ...(message !== undefined && { message }),
    };
  }
}

/** Heads of values that do not fill a workgroup. */
const HEADS = { keyHeads: 2, valueHeads: 4, keyDim: 32, valueDim: 40, taps: 4 };
const DELTA = { kind: "delta-net", ...HEADS } as const;
const MAMBA = { kind: "mamba", ...HEADS, convolutionBias: true } as const;

/**
 * Tolerance for products with activations as 16-bit integers. Rounding changes a value by up to
 * half a unit, 1.5e-5 of the largest value of its span; in a sum of many, a small part of that
 * remains.
 */
export const PLANES_TOLERANCE = 2e-5;

type Family = readonly [name: string, tolerance: number, run: () => Promise<number>];

function families(harness: KernelHarness, tokenCounts: readonly number[]): Family[] {
  const types = Object.keys(GROUP_LAYOUT) as TensorType[];
  const heads = { heads: 4, kvHeads: 2, headDim: 64 };
  const kvTypes = ["f16", "f32"] as const;
  const positions = [0, 15, 16, 17, 100];
  const temperature = { beta: 0.5, context: 16 };
  return [
    ...types.map((type): Family => {
      const shape = { type, rows: 37, columns: 768 };
      const one = { ...shape, tokens: 1, norm: true };
      const several = { ...shape, tokens: 5, accumulate: true, bias: true };
      const cases = [
        one,
        several,
        { ...shape, rows: 36, tokens: 3, gate: "both" as const },
        { ...shape, rows: 36, tokens: 1, gate: "both" as const, activation: "gelu" as const },
        ...tokenCounts.map((tokens) => ({ ...shape, tokens })),
      ];
      return [
        `matmul ${type}`,
        multipliesBytes(harness.tuning, type, 1) ? PLANES_TOLERANCE : 1e-6,
        () => maxOf(cases.map((c) => () => productError(harness, c))),
      ];
    }),
    ...types.map((type): Family => [
      `embed ${type}`,
      3e-7,
      () => embedError(harness, { type, rows: 37, columns: 256, ids: [0, 36, 5], scale: 1.5 }),
    ]),
    ...kvTypes.map((kv): Family => [
      `rope_append ${kv}`,
      kv === "f16" ? 1e-3 : 2e-6,
      () =>
        maxOf(
          (["half", "interleaved"] as const).flatMap((layout) =>
            [true, false].map((headNorm) => () =>
              ropeAppendError(harness, {
                ...{ ...heads, ropeDims: 32, layout, temperature, headNorm, kv },
              })
            )
          ),
        ),
    ]),
    ...kvTypes.map((kv): Family => [
      `attention ${kv}`,
      1e-5,
      () =>
        maxOf([
          () => attentionError(harness, { ...heads, kv, positions }),
          () => attentionError(harness, { ...heads, kv, positions, window: 20 }),
          () => attentionError(harness, { ...heads, kv, positions, last: 1 }),
        ]),
    ]),
    [
      "top_k",
      2e-6,
      () =>
        maxOf(
          [undefined, { scale: 2.5 }].map((sigmoid) => () =>
            topKError(harness, { experts: 60, slots: 4, normalized: true, tokens: 3, sigmoid })
          ),
        ),
    ],
    [
      "experts",
      1e-6,
      () =>
        maxOf((["BF16", "Q4_0", "Q4_K"] as const).map((type) => () => {
          const shape = {
            type,
            experts: 3,
            slots: 2,
            rows: 64,
            columns: 256,
            gate: "both" as const,
          };
          return maxOf([
            () => expertsError(harness, { ...shape, tokens: 3 }),
            () => expertsError(harness, { ...shape, tokens: 7, grouped: true }),
          ]);
        })),
    ],
    ["combine", 1e-6, () => combineError(harness, { dim: 96, slots: 3, tokens: 3, add: true })],
    ["convolution", 2e-6, () => convolutionError(harness, MAMBA)],
    [
      "delta_rule",
      2e-5,
      () =>
        maxOf(
          [true, false].map((tiled) => () => stateError(harness, { ...DELTA, tiled })),
        ),
    ],
    ["delta_norm", 2e-6, () => stateNormError(harness, { ...DELTA, tiled: true })],
    ["mamba_scan", 2e-5, () => stateError(harness, MAMBA)],
    ["gated_group_norm", 2e-6, () => stateNormError(harness, MAMBA)],
    ["gates", 2e-6, () => gatesError(harness, 96)],
    ["norm_add", 2e-6, () => normAddError(harness, { dim: 96, tokens: 3 })],
    ["sampling", 0, () => samplingError(harness)],
  ];
}

async function maxOf(runs: readonly (() => Promise<number>)[]): Promise<number> {
  let error = 0;
  for (const run of runs) error = maxError(error, await run());
  return error;
}

// Returns the share of rows whose token differs from the one that sampler.ts chooses.
async function samplingError(harness: KernelHarness): Promise<number> {
  const random = new RandomSource(6);
  const recent = Array.from({ length: 70 }, (_, i) => i * 7 % 5003);
  const cases = [
    {},
    { repeatPenalty: 1.5, logitBias: new Map([[11, 2], [400, -Infinity]]) },
    { repeatPenalty: 8, repeatWindow: 9, temperature: 1 },
    { temperature: 0.8, topK: 40 },
    { temperature: 1, topP: 0.9 },
    { temperature: 1.2, minP: 0.05, topK: 100, topP: 0.95 },
    { temperature: 1 },
  ].map((options, seed): ChoiceCase => ({
    logits: floats(5003, random).map((v) => v * 4),
    options: { ...GREEDY, seed, ...options },
    recent,
  }));
  const { sampled } = await chooseOnDevice(harness, cases);
  const wrong = cases.filter((c, i) =>
    sampleToken(c.logits.slice(), c.options, { recent: c.recent, position: c.recent.length }) !==
      sampled[i]
  );
  return wrong.length / cases.length;
}
