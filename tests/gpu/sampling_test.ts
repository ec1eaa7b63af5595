/** The sampling kernels and engine/run/sampler.ts must give the same token for the same seed. */

import assert from "node:assert/strict";
import { RandomSource } from "../../engine/files/random_weights.ts";
import type { SamplingOptions } from "../../engine/run/runner.ts";
import { sampleToken } from "../../engine/run/sampler.ts";
import { GREEDY, REPEAT_HISTORY } from "../../engine/run/runner.ts";
import { type ChoiceCase, chooseOnDevice } from "../../engine/gpu/self_test/choices.ts";
import { floats } from "../../engine/gpu/self_test/products.ts";
import type { KernelHarness } from "../../engine/gpu/self_test/kernel_harness.ts";
import { openHarnesses } from "./kernel_harnesses.ts";

const { gpu, software, all } = await openHarnesses();
const INVALID = 0xffffffff;

function expected({ logits, options, recent }: ChoiceCase): number {
  return sampleToken(logits.slice(), options, { recent, position: recent.length });
}

function rows(
  vocabulary: number,
  all: readonly Partial<SamplingOptions>[],
  { recent = [0], scale = 3 }: { recent?: readonly number[]; scale?: number } = {},
): ChoiceCase[] {
  return all.map((options, i) => ({
    logits: floats(vocabulary, new RandomSource(i, `${vocabulary}`)).map((v) => v * scale),
    options: { ...GREEDY, seed: 1000 + i, ...options },
    recent,
  }));
}

async function assertSame(harness: KernelHarness, cases: readonly ChoiceCase[]): Promise<void> {
  const { sampled, last } = await chooseOnDevice(harness, cases);
  assert.deepEqual(sampled, cases.map(expected));
  assert.deepEqual(last, sampled);
}

const FILTERS: readonly Partial<SamplingOptions>[] = [
  {},
  { temperature: 1 },
  { temperature: 0.3 },
  { temperature: 5 },
  { temperature: 1, topK: 1 },
  { temperature: 1.5, topK: 40 },
  { temperature: 1.5, topK: 1_000_000 },
  { temperature: 1.5, topP: 0.5 },
  { temperature: 1.5, topP: 0.95 },
  { temperature: 1.5, topP: 0 },
  { temperature: 1.5, minP: 0.1 },
  { temperature: 1.5, minP: 1 },
  { temperature: 2, topK: 50, topP: 0.9, minP: 0.02 },
];

for (const [name, harness] of Object.entries(all)) {
  for (const vocabulary of [1, 5, 97, 4096, 4097, 8191]) {
    Deno.test(`sampling, ${name}: ${vocabulary} tokens, every filter`, async () => {
      await assertSame(harness, rows(vocabulary, FILTERS));
      await assertSame(harness, rows(vocabulary, FILTERS.slice(1), { scale: 0.5 }));
    });
  }

  Deno.test(`sampling, ${name}: a large vocabulary, logits within and beyond the histogram`, async () => {
    const filters = [
      ...FILTERS.slice(5),
      { temperature: 1, topP: 0.9999 },
      { temperature: 1, topK: 100_000, topP: 0.3 },
      { temperature: 1, topK: 3, topP: 0.999 },
    ];
    for (const scale of [0, 0.01, 4, 200]) {
      // One row at a time, because the harness has no room for more logits.
      for (const options of filters) await assertSame(harness, rows(128_000, [options], { scale }));
    }
  });

  Deno.test(`sampling, ${name}: repeat penalty, its window, and biases`, async () => {
    const long = Array.from({ length: 150 }, (_, i) => i % 90);
    const options = [
      { repeatPenalty: 1.8 },
      { repeatPenalty: 0.5, temperature: 1 },
      { repeatPenalty: 4, repeatWindow: 3 },
      { repeatPenalty: 4, repeatWindow: 0 },
      { repeatPenalty: 1.5, repeatWindow: 100 },
      { logitBias: new Map([[96, 100]]) },
      { logitBias: new Map([[3, -Infinity], [4, 2.5]]), temperature: 1, topK: 20 },
      { repeatPenalty: 1.3, temperature: 0.7, topP: 0.9, logitBias: new Map([[60, 4]]) },
    ];
    for (const recent of [[5], long, long.slice(0, 64), long.slice(0, 65)]) {
      await assertSame(harness, rows(97, options, { recent }));
    }
    const flat = (penalized: number): ChoiceCase => ({
      logits: Float32Array.from({ length: 97 }, (_, i) => i === penalized ? 2 : i === 96 ? 1.5 : 0),
      options: { ...GREEDY, repeatPenalty: 2 },
      recent: Array.from({ length: 65 }, (_, i) => i),
    });
    // Token 0, 65 places back, is outside the window. Token 1, 64 places back, and token 64 are in
    // it and are penalized once.
    const { sampled } = await chooseOnDevice(harness, [flat(0), flat(1), flat(64)]);
    assert.deepEqual(sampled, [0, 96, 96]);
    // A longer window, before and after the ring buffer of tokens wraps around.
    const far = (penalized: number, tokens: number): ChoiceCase => ({
      ...flat(penalized),
      options: { ...GREEDY, repeatPenalty: 2, repeatWindow: REPEAT_HISTORY },
      recent: Array.from({ length: tokens }, (_, i) => i === 6 ? 0 : 1 + i % 50),
    });
    const longer = await chooseOnDevice(harness, [far(0, 65), far(0, 1030), far(0, 1031)]);
    assert.deepEqual(longer.sampled, [96, 96, 0]);
  });

  Deno.test(`sampling, ${name}: the lowest id of equal logits, also across chunks`, async () => {
    const logits = new Float32Array(8191).fill(-1);
    logits[4100] = logits[700] = logits[8190] = 2;
    const cases = [{}, { temperature: 1, topK: 1 }].map((options, seed) => ({
      logits,
      options: { ...GREEDY, ...options, seed },
      recent: [0],
    }));
    const { sampled } = await chooseOnDevice(harness, cases);
    assert.equal(sampled[0], 700);
    // Tokens that tie with the k-th are kept, and can be drawn.
    assert.deepEqual(sampled, cases.map(expected));
    const all = new Float32Array(8191);
    assert.deepEqual((await chooseOnDevice(harness, [{ ...cases[0]!, logits: all }])).sampled, [0]);
  });

  Deno.test(`sampling, ${name}: a NaN is reported, an infinite logit is not`, async () => {
    const cases = rows(5003, [{}, { temperature: 1 }, {}, { temperature: 1 }]);
    cases[0]!.logits[4099] = NaN;
    cases[1]!.logits[7] = NaN;
    cases[2]!.logits[9] = -Infinity;
    cases[3]!.logits.fill(-Infinity, 1, 2000);
    const { sampled } = await chooseOnDevice(harness, cases);
    assert.deepEqual(sampled.slice(0, 2), [INVALID, INVALID]);
    assert.deepEqual(sampled.slice(2), cases.slice(2).map(expected));
  });
}

Deno.test("draws follow the softmax", async () => {
  const logits = Float32Array.from([0, 1, 2, 3, -2]);
  const counts = new Array(5).fill(0);
  for (let batch = 0; batch < 125; batch++) {
    const cases = Array.from({ length: 16 }, (_, i) => ({
      logits,
      options: { ...GREEDY, temperature: 1, seed: batch * 16 + i },
      recent: [0],
    }));
    for (const id of (await chooseOnDevice(software, cases)).sampled) counts[id]++;
  }
  const total = logits.reduce((sum, v) => sum + Math.exp(v), 0);
  for (const [id, count] of counts.entries()) {
    const p = Math.exp(logits[id]!) / total;
    // Five standard deviations of a binomial count.
    assert.ok(Math.abs(count - 2000 * p) <= 5 * Math.sqrt(2000 * p * (1 - p)), `${counts}`);
  }
});

Deno.test("sampling caused no device error", () => {
  assert.equal(gpu.failure, undefined);
});
