/** How many calls of a kernel a sample contains, and which. */

import assert from "node:assert/strict";
import type { Dispatch } from "../../engine/gpu/pass.ts";
import { kernelCase } from "../../bench/kernels/timing.ts";

/** Times a kernel of `ms` per call. Returns the number of calls per pass, and their order. */
async function timed(ms: number, count: number, warmups = 1) {
  const passes: number[] = [];
  const order: number[] = [];
  let released = false;
  const harness = {
    time: (_: unknown, launch: (counts: never) => readonly Dispatch[]) => {
      const dispatches = launch({} as never);
      passes.push(dispatches.length);
      return Promise.resolve(dispatches.length * ms);
    },
    release: () => void (released = true),
  };
  const at = (call: number): Dispatch[] => {
    order.push(call);
    return [{} as Dispatch];
  };
  const kernel = { kernel: "k", shape: "s", cost: () => undefined };
  const own = kernelCase(harness, { ...kernel, prepare: () => ({ at, count }) });
  const samples = await own.time([1, 2], warmups, 3);
  assert.ok(released);
  assert.deepEqual(samples.map((all) => all.length), [3, 3]);
  for (const sample of samples.flat()) assert.ok(Math.abs(sample - ms) < 1e-9);
  return { passes, order };
}

Deno.test("a sample has enough calls to take about 10 ms, or all of them if they are quick", async () => {
  const compile = [1, 1, 1, 1];
  assert.deepEqual((await timed(2.5, 100)).passes, [...compile, ...Array(6).fill(4)]);
  assert.deepEqual((await timed(0.01, 100)).passes, [...compile, ...Array(6).fill(100)]);
  assert.deepEqual((await timed(40, 100)).passes, [...compile, ...Array(6).fill(1)]);
});

Deno.test("further warm-ups are whole passes", async () => {
  assert.equal((await timed(2.5, 100, 3)).passes.length, 4 + 2 * (2 + 3));
});

Deno.test("calls rotate through separate data from sample to sample, so that caches do not help", async () => {
  const { order } = await timed(2.5, 7);
  assert.deepEqual(order, order.map((_, i) => i % 7));
});
