/** The launch sizes that may be fastest on a device, by kernel family; `tvllm tune` times them. */

import type { LaneTuning, OwnerTuning, TileTuning, Tuning } from "./tuning.ts";

/** Families of kernels whose launch sizes are chosen together, in the order of timing. */
export const TUNED_FAMILIES = [
  "products",
  "prompts",
  "attention",
  "elements",
  "sampling",
  "steps",
] as const;

/** A family of kernels. "steps" is the number of decode steps chained in one submit. */
export type TunedFamily = typeof TUNED_FAMILIES[number];

/** The name of the chosen variant of each family that was timed. */
export type TuningChoices = Readonly<Partial<Record<TunedFamily, string>>>;

/** Applies a variant to a tuning. */
type Change = (tuning: Tuning) => Tuning;
type Variants = Readonly<Record<TunedFamily, ReadonlyMap<string, Change>>>;

const SOFTWARE: Variants = {
  products: named([1, 2].map((groups) => [`${4 * groups} rows`, rows({ groups })])),
  prompts: new Map(),
  attention: new Map(),
  elements: named([8, 16].map((lanes) => [`${lanes} lanes`, elements(lanes)])),
  sampling: new Map(),
  steps: steps(),
};

const HARDWARE: Variants = {
  products: named(
    (["float32", "int8"] as const).flatMap((activations) =>
      [8, 16, 32].map((split) => [
        activations === "int8" ? `${split} lanes, int8 activations` : `${split} lanes`,
        lanes({ split, activations }),
      ])
    ),
  ),
  prompts: named(
    [9, 17, 33].map((tilesFrom) => [`tiles from ${tilesFrom} tokens`, lanes({ tilesFrom })]),
  ),
  attention: named([64, 128, 256].map((parts) => [`${parts} parts`, tiles(parts)])),
  elements: named([64, 128].map((lanes) => [`${lanes} lanes`, elements(lanes)])),
  sampling: named([128, 256].map((lanes) => [`${lanes} lanes`, sampling(lanes)])),
  steps: steps(),
};

/**
 * Returns the variants of each family for a class of adapter, by name. A family has none if the
 * defaults are always fastest.
 */
export function tuningVariants(driver: "hardware" | "software"): Variants {
  return driver === "software" ? SOFTWARE : HARDWARE;
}

/**
 * Applies the chosen variants to `tuning`.
 *
 * @throws {RangeError} if there is no such variant.
 */
export function chosenTuning(
  tuning: Tuning,
  driver: "hardware" | "software",
  choices: TuningChoices,
): Tuning {
  const variants = tuningVariants(driver);
  return TUNED_FAMILIES.reduce((tuning, family) => {
    const name = choices[family];
    if (name === undefined) return tuning;
    const change = variants[family].get(name);
    if (change === undefined) {
      throw new RangeError(`Kernel family ${family} has no variant ${name}`);
    }
    return change(tuning);
  }, tuning);
}

function named(entries: readonly (readonly [string, Change])[]): ReadonlyMap<string, Change> {
  return new Map(entries);
}

function steps(): ReadonlyMap<string, Change> {
  return named(
    [1, 2, 4, 8].map((
      steps,
    ) => [`${steps} ${steps > 1 ? "steps" : "step"}`, (tuning) => ({ ...tuning, steps })]),
  );
}

function rows(change: Partial<OwnerTuning>): Change {
  return (tuning) =>
    tuning.matmul.by === "rows" ? { ...tuning, matmul: { ...tuning.matmul, ...change } } : tuning;
}

function lanes(change: Partial<LaneTuning>): Change {
  return (tuning) =>
    tuning.matmul.by === "lanes" ? { ...tuning, matmul: { ...tuning.matmul, ...change } } : tuning;
}

function tiles(parts: TileTuning["parts"]): Change {
  return (tuning) => ({ ...tuning, attention: { by: "tiles", parts } });
}

function elements(elementLanes: number): Change {
  return (tuning) => ({ ...tuning, elementLanes });
}

function sampling(sampleLanes: number): Change {
  return (tuning) => ({ ...tuning, sampleLanes });
}
