import assert from "node:assert/strict";
import { RandomSource } from "../../engine/files/random_weights.ts";
import { doubts, noise, outliers, unsteadyProbe } from "../../bench/harness/noise.ts";
import {
  hasPercentile,
  medianInterval,
  medianRatio,
  pairedRatios,
  percentile,
  ratioInterval,
  summarize,
} from "../../bench/report/stats.ts";

Deno.test("summarize() gives median, mean and sample standard deviation", () => {
  const { median, mean, stddev } = summarize([4, 1, 3, 2]);
  assert.equal(median, 2.5);
  assert.equal(mean, 2.5);
  assert.ok(Math.abs(stddev - Math.sqrt(5 / 3)) < 1e-12);
  assert.equal(summarize([7]).stddev, 0);
  assert.throws(() => summarize([]), RangeError);
});

Deno.test("percentile() is the value below which p percent of the samples are", () => {
  const samples = Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.equal(percentile(samples, 0), 1);
  assert.equal(percentile(samples, 50), 50.5);
  assert.equal(percentile(samples, 100), 100);
  assert.equal(percentile([5], 99), 5);
});

Deno.test("a percentile requires at least five samples beyond it", () => {
  assert.deepEqual([9, 10].map((count) => hasPercentile(count, 50)), [false, true]);
  assert.deepEqual([99, 100].map((count) => hasPercentile(count, 95)), [false, true]);
  assert.deepEqual([499, 500].map((count) => hasPercentile(count, 99)), [false, true]);
});

Deno.test("medianInterval() lies between order statistics whose coverage is above and below 95 %", () => {
  assert.equal(medianInterval([1, 2, 3, 4, 5]), undefined);
  // Of seven samples, the whole range covers 98.4 % and the next pair 87.5 %. The interval is
  // interpolated, 73.3 % of the way between them.
  const [low, high] = medianInterval([7, 1, 6, 2, 5, 3, 4])!;
  assert.ok(Math.abs(low - (1 + 11 / 15)) < 1e-12 && Math.abs(high - (7 - 11 / 15)) < 1e-12);
  assert.ok(medianInterval([1, 2, 3, 4, 5, 6])!.every(Number.isFinite));
});

Deno.test("medianInterval() contains the median in 95 of 100 series, also of a skewed distribution", () => {
  const random = new RandomSource(3);
  for (const count of [6, 7, 12, 30]) {
    let held = 0;
    const series = 4000;
    for (let i = 0; i < series; i++) {
      // The median of an exponential distribution is ln 2.
      const samples = Array.from({ length: count }, () => -Math.log1p(-random.uint32() / 2 ** 32));
      const [low, high] = medianInterval(samples)!;
      if (low <= Math.LN2 && Math.LN2 <= high) held++;
    }
    const share = held / series;
    assert.ok(share > 0.935 && share < 0.975, `${count} samples: ${share}`);
  }
});

Deno.test("ratios are between equal repetitions, and their median and interval use logarithms", () => {
  // The machine is half as fast from the second repetition on.
  assert.deepEqual(pairedRatios([3, 6, 6], [1, 2, 2]), [3, 3, 3]);
  assert.ok(Math.abs(medianRatio([0.5, 2]) - 1) < 1e-12);
  const ratios = [1, 2, 4, 8, 16, 32, 64];
  const [low, high] = ratioInterval(ratios)!;
  const inverse = ratioInterval(ratios.map((ratio) => 1 / ratio))!;
  assert.ok(Math.abs(low * inverse[1] - 1) < 1e-9 && Math.abs(high * inverse[0] - 1) < 1e-9);
});

Deno.test("unsteadyProbe() names the figures with a large spread", () => {
  assert.deepEqual(unsteadyProbe([["bandwidth", 0.09]]), []);
  assert.match(unsteadyProbe([["bandwidth", 0.5], ["flops", 0.01]]).join(), /\(bandwidth 50 %\)/);
});

Deno.test("outliers() finds samples far from the median in units of the MAD", () => {
  assert.deepEqual(outliers([10, 10.2, 9.9, 10.1, 20]), [20]);
  assert.deepEqual(outliers([10, 10.2, 9.9, 10.1, 10.3]), []);
  assert.deepEqual(outliers([10, 10, 10, 10.1]), [], "within 2 % of a still machine");
  assert.deepEqual(outliers([1, 100, 1]), [], "three samples tell nothing");
});

Deno.test("doubts() advises on outliers and notes a drift", () => {
  assert.deepEqual(doubts("x", [10, 10.1, 9.9, 10, 10.1]), []);
  assert.match(doubts("x", [10, 10.1, 9.9, 10, 30]).join(), /1 of 5 samples are outliers; close/);
  assert.match(doubts("x", [10, 11, 12.1, 13, 14]).join(), /rose by 33 % from the first/);
  assert.match(doubts("x", [14, 13, 12.1, 11, 10]).join(), /fell by 33 %/);
});

Deno.test("noise() names the noisiest measure", () => {
  const measures = [["still", [10, 10.1]], ["loud", [10, 20]], ["louder", [1, 9]]] as const;
  assert.match(noise(measures).join(), /in 2 of 3 measures \(up to 113 %, in louder\)/);
  assert.deepEqual(noise([["still", [10, 10.1]]]), []);
});
