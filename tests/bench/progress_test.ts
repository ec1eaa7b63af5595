import assert from "node:assert/strict";
import { Harness } from "../../bench/harness/harness.ts";
import { CaseCounter, type SuiteProgress } from "../../bench/harness/progress.ts";
import { SUITES } from "../../bench/suites/mod.ts";
import { RUN, ScriptedTarget } from "./scripted_target.ts";

/** Runs a suite. Returns all progress that it reports. */
async function told(
  suite: (typeof SUITES)[number],
  run = RUN,
  target = new ScriptedTarget(),
): Promise<SuiteProgress[]> {
  const all: SuiteProgress[] = [];
  await Harness.run(suite, target, { run, progress: (one) => all.push(one) });
  return all;
}

class WithoutTimestamps extends ScriptedTarget {
  override readonly hasTimestamps = false;
}

for (const suite of SUITES) {
  Deno.test(`bench ${suite.name} begins as many cases as it plans, and ends with the last`, async () => {
    const variants = [
      RUN,
      { ...RUN, warmup: "steady", repetitions: 3 } as const,
      // Some cases do not fit in the context, or in the KV cache.
      { ...RUN, contexts: [16, 1e6], concurrency: [3], sequences: [1, 4, 1000] },
      { ...RUN, sampling: { ...RUN.sampling, temperature: 0.8 } },
    ];
    for (const run of variants) {
      for (const target of [new ScriptedTarget(), new WithoutTimestamps()]) {
        const all = await told(suite, run, target);
        const last = all.at(-1)!;
        assert.ok(last.cases! >= 1);
        assert.equal(last.case, last.cases);
        for (const [i, { case: number, done }] of all.entries()) {
          assert.ok(number >= 0 && number <= last.cases!);
          if (done === undefined) assert.ok(number === 0);
          else assert.ok(done >= (all[i - 1]?.done ?? 0) && done <= 1, `${suite.name} ${done}`);
        }
        assert.ok(last.done! > 1 - 1 / last.cases! - 1e-9 && last.done! <= 1);
      }
    }
  });
}

Deno.test("CaseCounter counts the runs of interleaved cases as parts of all cases", () => {
  const cases = new CaseCounter();
  assert.deepEqual(cases.at("first"), {
    label: "first",
    case: 0,
    cases: undefined,
    done: undefined,
  });
  cases.plan(4);
  cases.begin(2, { warmup: 1, repetitions: 3 });
  const parts = [];
  for (let i = 0; i < 4; i++) {
    for (const way of [0, 1]) {
      cases.run(way, i === 0);
      parts.push(cases.at("").case, cases.at("").done! * 16);
    }
  }
  assert.deepEqual(parts, [1, 0, 2, 1, 1, 2, 2, 3, 1, 4, 2, 5, 1, 6, 2, 7]);
  cases.begin(2, { warmup: "steady", repetitions: 1 });
  cases.run(0, true);
  assert.deepEqual(cases.at("x"), { label: "x", case: 3, cases: 4, done: 0.5 });
  // More warm-ups than expected do not move the progress beyond its maximum.
  for (let i = 0; i < 9; i++) cases.run(1, true);
  cases.run(0, false);
  assert.deepEqual(cases.at("x"), { label: "x", case: 3, cases: 4, done: (2 + 2 * 6 / 8) / 4 });
});
