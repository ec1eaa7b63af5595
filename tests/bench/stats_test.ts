import assert from "node:assert/strict";
import { doubts, noise, outliers } from "../../bench/harness/noise.ts";
import { pairedRatio, percentile, summarize } from "../../bench/report/stats.ts";

Deno.test("summarize() gives median, mean and sample standard deviation", () => {
  const { median, mean, stddev } = summarize([4, 1, 3, 2]);
  assert.equal(median, 2.5);
  assert.equal(mean, 2.5);
  assert.ok(Math.abs(stddev - Math.sqrt(5 / 3)) < 1e-12);
  assert.equal(summarize([7]).stddev, 0);
  assert.throws(() => summarize([]), RangeError);
});

Deno.test("percentile() is the sample below which p percent are", () => {
  const samples = Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.equal(percentile(samples, 0), 1);
  assert.equal(percentile(samples, 50), 50.5);
  assert.equal(percentile(samples, 100), 100);
  assert.equal(percentile([5], 99), 5);
});

Deno.test("pairedRatio() is the median of ratios in the same repetition", () => {
  // The machine is half as fast from the second repetition on.
  assert.equal(pairedRatio([3, 6, 6], [1, 2, 2]), 3);
});

Deno.test("outliers() finds what is far from the median in units of the MAD", () => {
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
  assert.match(noise(measures).join(), /in 2 of 3 measures, most in louder \(113 %\)/);
  assert.deepEqual(noise([["still", [10, 10.1]]]), []);
});
