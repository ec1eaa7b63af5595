/** The overhead of timing kernels, and their times without it. */

import assert from "node:assert/strict";
import { kernelSteps, sumOf } from "../../bench/harness/kernel_steps.ts";
import type { HostStep } from "../../bench/targets/target.ts";

/** Steps in sequence, each of which takes `ms`. The first is a prefill of 16 tokens. */
function inSequence(
  ...steps: (Pick<HostStep, "timing" | "kernels"> & { ms: number })[]
): HostStep[] {
  let now = 0;
  return steps.map(({ ms, ...timed }, i) => ({
    tokens: i === 0 ? 16 : 1,
    sequences: 1,
    chained: 1,
    submitStart: now,
    submitEnd: now,
    readStart: now,
    readEnd: now += ms,
    ...timed,
  }));
}

function kernels(...times: number[]) {
  return times.map((milliseconds, i) => ({
    name: i === 0 ? "embed_q8_0" : "matmul_q8_0",
    milliseconds,
  }));
}

/** A prefill and a profiling cycle, in which timing adds 10 µs to each kernel on average. */
function cycle(speed: number, waits: number): HostStep[] {
  const whole = 3.02;
  return inSequence(
    { ms: 20 },
    // Kernels of 3.01 ms in all. One was timed at less than timing adds on average.
    { ms: 9, timing: "each", kernels: kernels(...[0.008, 1.014, 1.014, 1.014].map(by)) },
    { ms: 5 },
    { ms: by(whole - 0.01) / (1 - waits) },
    { ms: 5, timing: "together", kernels: kernels(by(whole)) },
  );
  function by(ms: number) {
    return ms * speed;
  }
}

Deno.test("kernelSteps() makes the kernels add up to the step as a whole, and reduces none to 0", () => {
  const { steps, overhead } = kernelSteps([{ steps: cycle(1, 0.25) }]);
  assert.ok(Math.abs(overhead! - 0.01) < 1e-9);
  const [step] = steps[0]!;
  // Kernels that are timed together have the overhead once.
  assert.ok(Math.abs(sumOf(step!.kernels) - 3.01) < 1e-9);
  const [small, ...large] = step!.kernels.map(({ milliseconds }) => milliseconds);
  assert.ok(small! > 0 && small! < 0.008);
  for (const ms of large) assert.ok(1.014 - ms >= overhead! && 1.014 - ms < 1.5 * overhead!);
});

Deno.test("kernelSteps() returns the kernels' share of an untimed step, for each serving", () => {
  const cycles = [[1, 0.5], [3, 0.25], [2, 0.1]].map(([speed, waits]) => cycle(speed!, waits!));
  const { shares, shareOf } = kernelSteps(cycles.map((steps) => ({ steps })));
  // Except for the overhead of timing, which differs from cycle to cycle here.
  for (const [i, waits] of [0.5, 0.25, 0.1].entries()) {
    assert.ok(Math.abs(shares[i]! - (1 - waits)) < 0.01, String(shares[i]));
  }
  const embed = (name: string) => name.startsWith("embed");
  const [part, others] = [shareOf(embed)!, shareOf((name) => !embed(name))!];
  assert.ok(part < 0.01 && Math.abs(part + others - shares[1]!) < 0.01);
});

Deno.test("kernelSteps() returns neither overhead nor share for fewer than four decode steps", () => {
  const { steps, ...timed } = kernelSteps([{ steps: cycle(1, 0.25).slice(0, 4) }]);
  assert.equal(timed.overhead, undefined);
  assert.deepEqual(timed.shares, []);
  assert.equal(timed.shareOf(() => true), undefined);
  // The times are those measured.
  assert.deepEqual(steps[0]![0]!.kernels, kernels(0.008, 1.014, 1.014, 1.014));
});

Deno.test("kernelSteps() measures the parts of a step, and does not distribute the rest of it", () => {
  // Of the 5 ms between reads, half a ms passes before the step is launched, which takes another
  // half.
  const spans = (lost: number) =>
    cycle(1, 0.4).map((step) => {
      const from = step.submitStart + 0.5;
      return { ...step, span: { from, launched: from + 0.5, to: step.readEnd - lost } };
    });
  const [whole, other] = [0, 1].map((lost) => kernelSteps([{ steps: spans(lost) }]).parts[0]!);
  const near = (found: number, expected: number) => assert.ok(Math.abs(found - expected) < 1e-9);
  const plain = 3.01 / 0.6;
  near(whole!.kernels, 3.01 / plain);
  near(whole!.launch, 0.5 / plain);
  near(whole!.results, (5 - 1 - 3.02) / plain);
  near(whole!.between, 0.5 / plain);
  near(whole!.sum, (3.01 + 0.5 + 0.98 + 0.5) / plain);
  // If the results arrive 1 ms earlier, it is 1 ms longer until the next step.
  near(other!.results, whole!.results - 1 / plain);
  near(other!.between, whole!.between + 1 / plain);
  assert.deepEqual(kernelSteps([{ steps: cycle(1, 0.4) }]).parts, []);
});
