/** Compares the kernels of recurrent layers and of gates on the device with the reference. */

import {
  convolve,
  deltaRule as referenceRule,
  mambaScan as referenceScan,
} from "../../../kernels/recurrent_reference.ts";
import { activate, rmsNorm } from "../../../kernels/reference.ts";
import { RandomSource } from "../../files/random_weights.ts";
import type { RecurrentSpec } from "../../model/config.ts";
import { channelsOf, stateFloats } from "../../model/mixers.ts";
import type { Batch } from "../../run/runner.ts";
import { addShared, headGate, relu2 } from "../gates.ts";
import { convolution, deltaNorm, deltaRule, gatedGroupNorm, mambaScan } from "../recurrent.ts";
import { errorOf } from "./heads.ts";
import { type KernelHarness, plainBatch } from "./kernel_harness.ts";
import { floats, maxError } from "./products.ts";

/** Number of slots with a state, and the sequences of a case: one continues, one starts. */
const SLOTS = 3;
const SEQUENCES = [{ slot: 2, start: 7, count: 3 }, { slot: 0, start: 0, count: 5 }] as const;
const TOKENS = 8;

const batch: Batch = {
  sequences: SEQUENCES.map(({ slot, start, count }) => ({
    ...plainBatch(count, { slot, start }).sequences[0]!,
  })),
};

/**
 * Returns the error of the convolution and of the state that it keeps for each slot, in units of
 * the largest number.
 */
export async function convolutionError(
  harness: KernelHarness,
  spec: RecurrentSpec,
): Promise<number> {
  const channels = channelsOf(spec);
  const hasBias = spec.kind === "mamba" && spec.convolutionBias;
  const random = new RandomSource(11);
  const [x, weights] = [floats(TOKENS * channels, random), floats(channels * spec.taps, random)];
  const states = floats(SLOTS * stateFloats(spec).convolution, random);
  const bias = hasBias ? floats(channels, random) : undefined;
  harness.uploader.write(harness.scratch.qkv, 0, x);
  const buffer = harness.buffer(states);
  const together = harness.buffer(Float32Array.from([...weights, ...bias ?? []]));
  const [result, kept] = await harness.run(batch, (counts) => [
    convolution(harness.build(), spec, { weights: together, states: buffer })
      .at(counts.sequences, 0),
  ], [harness.scratch.qkv, buffer]);
  const expected = x.slice();
  let first = 0;
  for (const { slot, start, count } of SEQUENCES) {
    const size = stateFloats(spec).convolution;
    const past = states.subarray(slot * size, (slot + 1) * size);
    if (start === 0) past.fill(0);
    const own = x.slice(first * channels, (first + count) * channels);
    expected.set(convolve(own, { weights, bias }, past), first * channels);
    first += count;
  }
  return maxError(
    errorOf(new Float32Array(result!), expected),
    errorOf(new Float32Array(kept!), states),
  );
}

/**
 * Returns the error of the heads' results and of the new states, in units of the largest number.
 */
export async function stateError(harness: KernelHarness, spec: RecurrentSpec): Promise<number> {
  const { valueHeads, keyDim, valueDim } = spec;
  const random = new RandomSource(12);
  const width = channelsOf(spec);
  const inputs = floats(TOKENS * width, random);
  const decays = Float32Array.from({ length: valueHeads }, () => -random.uniform());
  const skips = floats(valueHeads, random);
  // A delta net has strengths, too.
  const perToken = spec.kind === "mamba" ? valueHeads : 2 * valueHeads;
  const steps = floats(TOKENS * perToken, random);
  const states = floats(SLOTS * stateFloats(spec).matrices, random);
  harness.uploader.write(harness.scratch.qkv, 0, inputs);
  harness.uploader.write(harness.scratch.steps!, 0, steps);
  const buffer = harness.buffer(states);
  const [result, kept] = await harness.run(batch, (counts) => {
    const build = harness.build();
    const operation = spec.kind === "mamba"
      ? mambaScan(build, spec, {
        rates: harness.buffer(Float32Array.from([...decays, ...skips])),
        states: buffer,
      })
      : deltaRule(build, spec, { decays: harness.buffer(decays), states: buffer });
    return [operation.at(counts.sequences, 0)];
  }, [harness.scratch.attended, buffer]);
  const expected = new Float32Array(TOKENS * valueHeads * valueDim);
  let first = 0;
  for (const { slot, start, count } of SEQUENCES) {
    const own = turned(states, { ...spec, slot });
    if (start === 0) own.fill(0);
    const rows = steps.subarray(first * perToken, (first + count) * perToken);
    const half = (which: number) => rows.filter((_, i) => Math.floor(i / valueHeads) % 2 === which);
    const net = { inputs: inputs.subarray(first * width, (first + count) * width), decays };
    const given = spec.kind === "mamba"
      ? referenceScan({ ...spec, ...net, steps: rows, skips }, own)
      : referenceRule({ ...spec, ...net, steps: half(0), strengths: half(1) }, own);
    expected.set(given, first * valueHeads * valueDim);
    // Back to the device's layout.
    const size = valueHeads * keyDim * valueDim;
    own.forEach((value, i) => states[slot * size + turnedIndex(spec, i)] = value);
    first += count;
  }
  return maxError(
    errorOf(new Float32Array(result!).subarray(0, expected.length), expected),
    errorOf(new Float32Array(kept!), states),
  );
}

type Sizes = Pick<RecurrentSpec, "valueHeads" | "keyDim" | "valueDim">;

/** Returns a slot's matrices in the reference's layout, [heads, valueDim, keyDim]. */
function turned(states: Float32Array, { slot, ...spec }: Sizes & { slot: number }): Float64Array {
  const size = spec.valueHeads * spec.keyDim * spec.valueDim;
  return Float64Array.from(
    { length: size },
    (_, i) => states[slot * size + turnedIndex(spec, i)]!,
  );
}

/**
 * Returns the index of the reference's element `i` in the device's layout, [heads, keyDim,
 * valueDim].
 */
function turnedIndex({ keyDim, valueDim }: Sizes, i: number): number {
  const within = i % (keyDim * valueDim);
  const [row, column] = [Math.floor(within / keyDim), within % keyDim];
  return i - within + column * valueDim + row;
}

/**
 * Returns the error of the norm of the heads' results and the silu of their gates, in units of the
 * largest number.
 */
export async function stateNormError(harness: KernelHarness, spec: RecurrentSpec): Promise<number> {
  const { keyHeads, valueHeads, valueDim } = spec;
  const isMamba = spec.kind === "mamba";
  const random = new RandomSource(13);
  const values = valueHeads * valueDim;
  const width = isMamba ? values / keyHeads : valueDim;
  const count = 3 * values;
  const [x, gates, weight] = [
    floats(count, random),
    floats(count, random),
    floats(isMamba ? values : valueDim, random),
  ];
  harness.uploader.write(harness.scratch.attended, 0, x);
  harness.uploader.write(harness.scratch.gates!, 0, gates);
  const [result] = await harness.run(plainBatch(3), (counts) => {
    const [build, buffer] = [harness.build(), harness.buffer(weight)];
    return [
      (isMamba ? gatedGroupNorm(build, spec, buffer) : deltaNorm(build, spec, buffer))
        .at(counts.tokens, 0),
    ];
  }, [harness.scratch.attended]);
  const gate = (i: number) => activate(gates[i]!, "silu");
  const normed = isMamba
    ? rmsNorm(x.map((v, i) => v * gate(i)), new Float32Array(width).fill(1), 1e-5)
      .map((v, i) => v * weight[i % values]!)
    : rmsNorm(x, weight, 1e-5).map((v, i) => v * gate(i));
  return errorOf(new Float32Array(result!).subarray(0, count), normed);
}

/**
 * Returns the error of the kernels of gates, and of gateless networks, in units of the largest
 * number.
 */
export async function gatesError(harness: KernelHarness, width: number): Promise<number> {
  const random = new RandomSource(14);
  const [x, gates] = [floats(3 * width, random), floats(3 * width, random)];
  const logits = floats(3, random);
  harness.uploader.write(harness.scratch.attended, 0, x);
  harness.uploader.write(harness.scratch.gates!, 0, gates);
  harness.uploader.write(harness.scratch.hidden, 0, x);
  const gateless = harness.buffer(x);
  const [attended, hidden, squares] = await harness.run(plainBatch(3), (counts) => {
    const build = harness.build({ dim: width });
    const shared = { logits: harness.buffer(logits), part: harness.buffer(gates) };
    const operations = [
      headGate(build, width),
      addShared(build, shared),
      relu2(build, gateless, width),
    ];
    return operations.map((operation) => operation.at(counts.tokens, 0));
  }, [harness.scratch.attended, harness.scratch.hidden, gateless]);
  const sigmoid = (value: number) => 1 / (1 + Math.exp(-value));
  const result = (buffer: ArrayBuffer) => new Float32Array(buffer).subarray(0, 3 * width);
  return [
    errorOf(result(attended!), x.map((v, i) => v * sigmoid(gates[i]!))),
    errorOf(
      result(hidden!),
      x.map((v, i) => v + gates[i]! * sigmoid(logits[Math.floor(i / width)]!)),
    ),
    errorOf(result(squares!), x.map((v) => activate(v, "relu2"))),
  ].reduce(maxError);
}
