/** The bottleneck that reports name for a decode step. */

import assert from "node:assert/strict";
import { bottleneck, findings, stepCosts, type StepFacts } from "../../bench/suites/bottleneck.ts";

function sentence(facts: StepFacts): string {
  const costs = stepCosts(facts);
  return bottleneck(facts, costs, findings(facts, costs));
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
    probes: {},
    position: 100,
    kvReadBytes: 0,
    bytesPerToken: 10_000_000,
    operationsPerToken: 2_000_000,
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
      "1.250 ms (memory 80 %, host 16 %, dispatch 8 %, copies 8 %, arithmetic 2 %, the kernels run for 90 %).",
  );
});

Deno.test("bottleneck() names the kernels if they fill a step that no limit explains", () => {
  assert.equal(
    sentence({ ...FACTS, step: 5 }),
    "**Bottleneck: the kernels**: they run for 90 % of a step of 5.000 ms, and no single cost explains half of it " +
      "(memory 20 %, host 4 %, dispatch 2 %, copies 2 %, arithmetic 0 %, the kernels run for 90 %).",
  );
});

Deno.test("bottleneck() says if the device waits, or if it is not known whether it does", () => {
  assert.match(
    sentence({ ...FACTS, step: 5, share: 0.3 }),
    /^\*\*Bottleneck: waiting\*\*: the kernels run for only 30 % of a step of 5\.000 ms/,
  );
  assert.match(
    sentence({ ...FACTS, step: 5, share: undefined }),
    /^\*\*Bottleneck: not known\*\*: no cost explains half of a step of 5\.000 ms, and the kernels' share/,
  );
});

Deno.test("bottleneck() counts the same arithmetic as the limit, including attention", () => {
  const limits = { ...FACTS.limits, operationsPerToken: 125_000_000 };
  assert.match(
    sentence({ ...FACTS, limits }),
    /arithmetic\*\*: 0\.125 GFLOP at 100\.0 GFLOPS needs 1\.250 ms/,
  );
});

Deno.test("findings() give a step's gain without its first bottleneck; overlapping costs remain", () => {
  const gains = (facts: StepFacts) => findings(facts, stepCosts(facts)).map(({ gain }) => gain);
  // Without the 1 ms of memory reads, 0.25 of 1.25 ms remain, which is more than the host's 0.2 ms.
  assert.deepEqual(gains(FACTS).map((gain) => gain?.toFixed(2)), ["5.00", "1.19"]);
  // What remains: the tenth outside the kernels, and the kernels at their nearer limit, 1 ms.
  assert.ok(Math.abs(gains({ ...FACTS, step: 5 })[0]! - 5 / 1.5) < 1e-9);
  assert.equal(gains({ ...FACTS, step: 5, share: 0.25 })[0], 4);
  assert.equal(gains({ ...FACTS, step: 5, share: undefined })[0], undefined);
});
