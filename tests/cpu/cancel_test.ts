/** Abandoned steps of the CPU runner. */

import assert from "node:assert/strict";
import { GREEDY } from "../../engine/run/runner.ts";
import { watchLists, withTiny } from "./cpu_runner.ts";

Deno.test("CpuRunner skips the rest of abandoned steps, and runs later steps", async () => {
  await withTiny(["llama", "F16"], { threads: 2, blocks: [8] }, async (runner) => {
    let lists = 0;
    watchLists(runner, (count) => {
      lists = count;
      // As if Ctrl-C arrived while the first part of the first step runs.
      if (lists === 1) runner.abandon();
    });
    const tokens = Array.from({ length: 40 }, (_, i) => i);
    const step = { slot: 0, tokens, start: 0, blockTables: [[0, 1, 2]], sampling: GREEDY };
    const steps = [1, 2].map(() => runner.submit({ sequences: [step] }));
    for (const abandoned of steps) {
      assert.deepEqual((await abandoned.read()).tokens, [[]]);
    }
    assert.equal(lists, 1);
    const { tokens: [sampled] } = await runner.submit({ sequences: [step] }).read();
    assert.equal(sampled!.length, 1);
    assert.ok(lists > 1);
  });
});
