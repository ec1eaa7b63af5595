/** Kernel times: one per dispatch, in milliseconds for any period of the device's ticks. */

import assert from "node:assert/strict";
import { createBuffer } from "../../engine/gpu/buffers.ts";
import { openGpu } from "../../engine/gpu/device.ts";
import { Recorder } from "../../engine/gpu/pass.ts";
import { Pipelines } from "../../engine/gpu/pipelines.ts";
import { Readback } from "../../engine/gpu/readback.ts";
import { periodBetween, timestampPeriod } from "../../engine/gpu/timestamp_period.ts";

const gpu = await openGpu();
const pipelines = new Pipelines(gpu, 256);
const readback = await Readback.create(gpu);
const ignore = !gpu.features.has("timestamp-query");

const pipeline = pipelines.get({
  name: "count",
  parts: [
    "@group(0) @binding(0) var<storage, read_write> n: u32;\n@compute @workgroup_size(1) fn main() { n++; }",
  ],
  overrides: {},
  bindings: { 0: "write" },
  workgroupSize: [1, 1],
  workgroupBytes: 0,
});
const counter = createBuffer(gpu, { label: "counter", bytes: 4, purpose: "scratch" });
const dispatch = {
  pipeline,
  group: pipelines.bind(pipeline, { 0: counter }),
  workgroups: [1, 1],
} as const;

/** A reading at `ms` of a clock with `period` ns per tick, bracketed by the host to ±`late` ms. */
function reading(period: number, ms: number, late: number) {
  return {
    ticks: BigInt(Math.round(7e9 + ms * 1e6 / period)),
    before: ms - late,
    after: ms + late,
  };
}

Deno.test("periodBetween() returns the period, or 1 if the host's delays allow it", () => {
  for (const period of [10, 52.083, 83.333, 0.5]) {
    for (const late of [0, 0.1, 1]) {
      const found = periodBetween(reading(period, 0, late), reading(period, 50, late));
      assert.ok(Math.abs(found / period - 1) < 1e-5, `${period} late by ${late}: ${found}`);
    }
  }
  for (const late of [0, 0.1, 10, 100]) {
    assert.equal(periodBetween(reading(1, 0, late), reading(1, 50, late)), 1);
  }
  assert.equal(periodBetween(reading(1.0001, 0, 0), reading(1.0001, 50, 0)), 1);
  // The second reading has a delay on one side only.
  const second = reading(1, 50, 0);
  assert.equal(periodBetween(reading(1, 0, 0), { ...second, after: 90 }), 1);
  // A clock that stands still.
  assert.equal(periodBetween(reading(1, 0, 0), reading(1, 0, 0)), 1);
});

Deno.test({
  name: "timestampPeriod() measures a device once, when kernels are first timed",
  ignore,
  fn: async () => {
    const plain = new Recorder(gpu);
    plain.dispatch(dispatch, 0);
    assert.deepEqual(await plain.submit(readback)(), []);
    assert.equal(gpu.timestampPeriod, undefined);
    const timed = new Recorder(gpu, "each");
    timed.dispatch(dispatch, 0);
    assert.equal((await timed.submit(readback)()).length, 1);
    const measured = gpu.timestampPeriod;
    assert.ok(await measured! > 0);
    assert.equal(timestampPeriod(gpu, readback), measured);
  },
});

Deno.test({
  name: "Recorder converts times to milliseconds by the device's period",
  ignore,
  fn: async () => {
    const recorder = new Recorder({ ...gpu, timestampPeriod: Promise.resolve(10) }, "each");
    recorder.dispatch(dispatch, 0);
    recorder.dispatch(dispatch, 0);
    const ticks = new BigUint64Array([100n, 300n, 1000n, 1_001_000n]).buffer;
    const scripted = { copy: () => () => Promise.resolve(ticks) } as unknown as Readback;
    assert.deepEqual(await recorder.submit(scripted)(), [
      { name: "count", milliseconds: 0.002 },
      { name: "count", milliseconds: 10 },
    ]);
  },
});

Deno.test({
  name: "Recorder times more dispatches than one query set holds",
  ignore,
  fn: async () => {
    const { readback: before } = gpu.memory;
    const recorder = new Recorder(gpu, "each");
    for (let i = 0; i < 4100; i++) recorder.dispatch(dispatch, 0);
    const times = recorder.submit(readback);
    const size = 4100 * 16;
    assert.equal(gpu.memory.readback, before + size + 2 ** Math.ceil(Math.log2(size)));
    const measured = (await times()).map(({ milliseconds }) => milliseconds);
    assert.equal(measured.length, 4100);
    // Times from each of the three sets; a query that was never resolved is 0.
    for (const first of [0, 2048, 4096]) {
      const some = measured.slice(first, first + 2048);
      assert.ok(some.every((ms) => ms >= 0) && some.some((ms) => ms > 0));
    }
    assert.equal(gpu.memory.readback, before + 2 ** Math.ceil(Math.log2(size)));
    assert.equal(gpu.failure, undefined);
  },
});
