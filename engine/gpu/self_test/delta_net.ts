/** The kernels of gated delta nets, and of gates, on the device against the reference. */

import { convolve, deltaRule as referenceRule } from "../../../kernels/delta_net_reference.ts";
import { activate, rmsNorm } from "../../../kernels/reference.ts";
import { RandomSource } from "../../files/random_weights.ts";
import type { DeltaNetSpec } from "../../model/config.ts";
import { channelsOf, stateFloats } from "../../model/mixers.ts";
import type { Batch } from "../../run/runner.ts";
import { convolution, deltaNorm, deltaRule } from "../delta_net.ts";
import { addShared, headGate } from "../gates.ts";
import { errorOf } from "./heads.ts";
import { type KernelHarness, plainBatch } from "./kernel_harness.ts";
import { floats, maxError } from "./products.ts";

export type DeltaCase = Omit<DeltaNetSpec, "kind">;

/** Slots of the states, and where the sequences of a case are: one starts, one continues. */
const SLOTS = 3;
const SEQUENCES = [{ slot: 2, start: 7, count: 3 }, { slot: 0, start: 0, count: 5 }] as const;
const TOKENS = 8;

const batch: Batch = {
  sequences: SEQUENCES.map(({ slot, start, count }) => ({
    ...plainBatch(count, { slot, start }).sequences[0]!,
  })),
};

/** The convolution and what it keeps of each slot, in units of the largest number. */
export async function convolutionError(harness: KernelHarness, c: DeltaCase): Promise<number> {
  const spec = { kind: "delta-net", ...c } as const;
  const channels = channelsOf(spec);
  const random = new RandomSource(11);
  const [x, weights] = [floats(TOKENS * channels, random), floats(channels * c.taps, random)];
  const states = floats(SLOTS * stateFloats(spec).convolution, random);
  harness.uploader.write(harness.scratch.qkv, 0, x);
  const buffer = harness.buffer(states);
  const [result, kept] = await harness.run(batch, (counts) => [
    convolution(harness.build(), spec, { weights: harness.buffer(weights), states: buffer })
      .at(counts.sequences, 0),
  ], [harness.scratch.qkv, buffer]);
  const expected = x.slice();
  let first = 0;
  for (const { slot, start, count } of SEQUENCES) {
    const size = stateFloats(spec).convolution;
    const past = states.subarray(slot * size, (slot + 1) * size);
    if (start === 0) past.fill(0);
    const own = x.slice(first * channels, (first + count) * channels);
    expected.set(convolve(own, weights, past), first * channels);
    first += count;
  }
  return maxError(
    errorOf(new Float32Array(result!), expected),
    errorOf(new Float32Array(kept!), states),
  );
}

/** What the heads give and the states that are left, in units of the largest number. */
export async function deltaRuleError(harness: KernelHarness, c: DeltaCase): Promise<number> {
  const spec = { kind: "delta-net", ...c } as const;
  const { valueHeads, keyDim, valueDim } = spec;
  const random = new RandomSource(12);
  const width = channelsOf(spec);
  const inputs = floats(TOKENS * width, random);
  const decays = Float32Array.from({ length: valueHeads }, () => -random.uniform());
  const steps = floats(TOKENS * 2 * valueHeads, random);
  const states = floats(SLOTS * stateFloats(spec).matrices, random);
  harness.uploader.write(harness.scratch.qkv, 0, inputs);
  harness.uploader.write(harness.scratch.steps!, 0, steps);
  const buffer = harness.buffer(states);
  const [result, kept] = await harness.run(batch, (counts) => [
    deltaRule(harness.build(), spec, { decays: harness.buffer(decays), states: buffer })
      .at(counts.sequences, 0),
  ], [harness.scratch.attended, buffer]);
  const expected = new Float32Array(TOKENS * valueHeads * valueDim);
  let first = 0;
  for (const { slot, start, count } of SEQUENCES) {
    const own = turned(states, { ...spec, slot });
    if (start === 0) own.fill(0);
    const rows = steps.subarray(2 * first * valueHeads, 2 * (first + count) * valueHeads);
    const half = (which: number) => rows.filter((_, i) => Math.floor(i / valueHeads) % 2 === which);
    const net = {
      ...spec,
      inputs: inputs.subarray(first * width, (first + count) * width),
      ...{ steps: half(0), strengths: half(1), decays },
    };
    expected.set(referenceRule(net, own), first * valueHeads * valueDim);
    // Back to how the device has them.
    const size = valueHeads * keyDim * valueDim;
    own.forEach((value, i) => states[slot * size + turnedIndex(spec, i)] = value);
    first += count;
  }
  return maxError(
    errorOf(new Float32Array(result!).subarray(0, expected.length), expected),
    errorOf(new Float32Array(kept!), states),
  );
}

type Sizes = Pick<DeltaNetSpec, "valueHeads" | "keyDim" | "valueDim">;

/** A slot's matrices as the reference has them, [heads, valueDim, keyDim]. */
function turned(states: Float32Array, { slot, ...spec }: Sizes & { slot: number }): Float64Array {
  const size = spec.valueHeads * spec.keyDim * spec.valueDim;
  return Float64Array.from(
    { length: size },
    (_, i) => states[slot * size + turnedIndex(spec, i)]!,
  );
}

/** Where the device has element `i` of those: [heads, keyDim, valueDim]. */
function turnedIndex({ keyDim, valueDim }: Sizes, i: number): number {
  const within = i % (keyDim * valueDim);
  const [row, column] = [Math.floor(within / keyDim), within % keyDim];
  return i - within + column * valueDim + row;
}

/** The norm of what heads gave, times silu of their gates, in units of the largest number. */
export async function deltaNormError(harness: KernelHarness, c: DeltaCase): Promise<number> {
  const spec = { kind: "delta-net", ...c } as const;
  const { valueHeads, valueDim } = spec;
  const random = new RandomSource(13);
  const count = 3 * valueHeads * valueDim;
  const [x, gates, weight] = [
    floats(count, random),
    floats(count, random),
    floats(valueDim, random),
  ];
  harness.uploader.write(harness.scratch.attended, 0, x);
  harness.uploader.write(harness.scratch.gates!, 0, gates);
  const [result] = await harness.run(plainBatch(3), (counts) => [
    deltaNorm(harness.build(), spec, harness.buffer(weight)).at(counts.tokens, 0),
  ], [harness.scratch.attended]);
  const normed = rmsNorm(x, weight, 1e-5).map((v, i) => v * activate(gates[i]!, "silu"));
  return errorOf(new Float32Array(result!).subarray(0, count), normed);
}

/** Both kernels of gates, in units of the largest number. */
export async function gatesError(harness: KernelHarness, width: number): Promise<number> {
  const random = new RandomSource(14);
  const [x, gates] = [floats(3 * width, random), floats(3 * width, random)];
  const logits = floats(3, random);
  harness.uploader.write(harness.scratch.attended, 0, x);
  harness.uploader.write(harness.scratch.gates!, 0, gates);
  harness.uploader.write(harness.scratch.hidden, 0, x);
  const [attended, hidden] = await harness.run(plainBatch(3), (counts) => {
    const build = harness.build({ dim: width });
    const shared = { logits: harness.buffer(logits), part: harness.buffer(gates) };
    return [headGate(build, width), addShared(build, shared)].map((operation) =>
      operation.at(counts.tokens, 0)
    );
  }, [harness.scratch.attended, harness.scratch.hidden]);
  const sigmoid = (value: number) => 1 / (1 + Math.exp(-value));
  const result = (buffer: ArrayBuffer) => new Float32Array(buffer).subarray(0, 3 * width);
  return maxError(
    errorOf(result(attended!), x.map((v, i) => v * sigmoid(gates[i]!))),
    errorOf(
      result(hidden!),
      x.map((v, i) => v + gates[i]! * sigmoid(logits[Math.floor(i / width)]!)),
    ),
  );
}
