/** What timing kernels adds to them, and what is left without it. */

import assert from "node:assert/strict";
import { kernelSteps, sumOf } from "../../bench/harness/kernel_steps.ts";
import type { HostStep } from "../../bench/targets/target.ts";

/** Steps one after the other, each of so many ms, the first a prefill of 16 tokens. */
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

/** A prefill and a cycle, in which timing adds 10 µs to each kernel on average. */
function cycle(speed: number, waits: number): HostStep[] {
  const whole = 3.02;
  return inSequence(
    { ms: 20 },
    // 1, 1 and 1 ms and 20 µs, of which one was timed at less than is added on average.
    { ms: 9, timing: "each", kernels: kernels(...[0.008, 1.014, 1.014, 1.014].map(by)) },
    { ms: 5 },
    { ms: by(whole - 0.01) / (1 - waits) },
    { ms: 5, timing: "together", kernels: kernels(by(whole)) },
  );
  function by(ms: number) {
    return ms * speed;
  }
}

Deno.test("kernelSteps() leaves of each kernel what adds up to the step as a whole, and nothing at 0", () => {
  const { steps, overhead } = kernelSteps([{ steps: cycle(1, 0.25) }]);
  assert.ok(Math.abs(overhead! - 0.01) < 1e-9);
  const [step] = steps[0]!;
  // What is timed together has the overhead once.
  assert.ok(Math.abs(sumOf(step!.kernels) - 3.01) < 1e-9);
  const [small, ...large] = step!.kernels.map(({ milliseconds }) => milliseconds);
  assert.ok(small! > 0 && small! < 0.008);
  for (const ms of large) assert.ok(1.014 - ms >= overhead! && 1.014 - ms < 1.5 * overhead!);
});

Deno.test("kernelSteps() gives the kernels' share of a step that is not timed, of each serving", () => {
  const cycles = [[1, 0.5], [3, 0.25], [2, 0.1]].map(([speed, waits]) => cycle(speed!, waits!));
  const { shares, shareOf } = kernelSteps(cycles.map((steps) => ({ steps })));
  // But for what timing added, which differs from cycle to cycle here.
  for (const [i, waits] of [0.5, 0.25, 0.1].entries()) {
    assert.ok(Math.abs(shares[i]! - (1 - waits)) < 0.01, String(shares[i]));
  }
  const embed = (name: string) => name.startsWith("embed");
  const [part, others] = [shareOf(embed)!, shareOf((name) => !embed(name))!];
  assert.ok(part < 0.01 && Math.abs(part + others - shares[1]!) < 0.01);
});

Deno.test("kernelSteps() knows neither overhead nor share of fewer than four decode steps", () => {
  const { steps, ...timed } = kernelSteps([{ steps: cycle(1, 0.25).slice(0, 4) }]);
  assert.equal(timed.overhead, undefined);
  assert.deepEqual(timed.shares, []);
  assert.equal(timed.shareOf(() => true), undefined);
  // As they were timed.
  assert.deepEqual(steps[0]![0]!.kernels, kernels(0.008, 1.014, 1.014, 1.014));
});

Deno.test("kernelSteps() measures the parts of a step, and what they leave of it is not shared out", () => {
  // Of 5 ms between readings: half a ms until it is handed over, which takes another half.
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
  // Results that are there a ms earlier are that much longer from the next step.
  near(other!.results, whole!.results - 1 / plain);
  near(other!.between, whole!.between + 1 / plain);
  assert.deepEqual(kernelSteps([{ steps: cycle(1, 0.4) }]).parts, []);
});
