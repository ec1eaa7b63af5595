/** What a decode step is said to wait for. */

import assert from "node:assert/strict";
import { bottleneck, stepCosts, type StepFacts } from "../../bench/suites/bottleneck.ts";

function sentence(facts: StepFacts): string {
  return bottleneck(facts, stepCosts(facts));
}

const FACTS: StepFacts = {
  limits: {
    source: "measured",
    bandwidth: 10,
    flops: 100,
    int8: 100,
    dispatch: 10,
    readback: 0.4,
    upload: 1,
    bytesPerToken: 10_000_000,
    memoryBound: 1000,
    arithmeticBound: 50_000,
  },
  step: 1.25,
  chained: 4,
  dispatches: 10,
  host: 0.2,
  share: 0.9,
};

Deno.test("bottleneck() names the limit that explains most of a step", () => {
  assert.equal(
    sentence(FACTS),
    "**Bottleneck: memory**: reading 10.00 MB at 10.00 GB/s needs 1.000 ms, 80 % of a step of " +
      "1.250 ms (arithmetic 2 %, dispatch 8 %, host 16 %, copies 8 %; the kernels run 90 % of it).",
  );
});

Deno.test("bottleneck() names the kernels where they take a step that no limit explains", () => {
  assert.equal(
    sentence({ ...FACTS, step: 5 }),
    "**Bottleneck: the kernels**: they run 90 % of a step of 5.000 ms, of which no cost explains half; " +
      "the largest, memory: reading 10.00 MB at 10.00 GB/s needs 1.000 ms, 20 % " +
      "(arithmetic 0 %, dispatch 2 %, host 4 %, copies 2 %).",
  );
});

Deno.test("bottleneck() says so where the device waits, or where it is not known whether it does", () => {
  assert.match(
    sentence({ ...FACTS, step: 5, share: 0.3 }),
    /^\*\*Bottleneck: waiting\*\*: the kernels run only 30 % of a step of 5\.000 ms/,
  );
  assert.match(
    sentence({ ...FACTS, step: 5, share: undefined }),
    /^\*\*Bottleneck: not known\*\*: the kernels' share of a step of 5\.000 ms was not measured/,
  );
});

Deno.test("bottleneck() counts of arithmetic what its limit counts, attention too", () => {
  const limits = { ...FACTS.limits, arithmeticBound: 800 };
  assert.match(
    sentence({ ...FACTS, limits }),
    /arithmetic\*\*: 0\.125 GFLOP at 100\.0 GFLOPS needs 1\.250 ms/,
  );
});
