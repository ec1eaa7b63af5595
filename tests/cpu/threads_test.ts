/** Failures of the CPU backend's threads, and the end of its workers. */

import assert from "node:assert/strict";
import { OPERATION } from "../../kernels/wasm/operation.ts";
import { DeviceError } from "../../engine/errors.ts";
import type { CpuRunner } from "../../engine/cpu/runner.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { withTiny } from "./cpu_runner.ts";

const STEP = { slot: 0, tokens: [1], start: 0, blockTables: [[0]], sampling: GREEDY };

/** Puts the number of a kernel that does not exist into an operation of the runner's next step. */
function breakOperation({ stepper: { context: { memory, scratch } } }: CpuRunner): void {
  memory.words[(scratch.operations + OPERATION.kernel) / 4] = 1_000_000;
}

Deno.test("CpuRunner reports a failed thread instead of hanging, on 1 to 4 threads", async () => {
  for (const threads of [1, 2, 4]) {
    await withTiny(["llama", "Q4_0"], { threads }, async (runner) => {
      await runner.submit({ sequences: [STEP] }).read();
      breakOperation(runner);
      for (const again of [false, true]) {
        await assert.rejects(
          runner.submit({ sequences: [STEP] }).read(),
          (error) => error instanceof DeviceError && error.kind === "lost",
          `${threads} threads, ${again ? "again" : "at first"}`,
        );
      }
    });
  }
});

Deno.test("CpuRunner ends its workers when it is destroyed", async () => {
  // Deno's own check of leaked workers and timers is the assertion.
  for (let i = 0; i < 5; i++) {
    await withTiny(["llama", "Q4_0"], { threads: 3 }, async (runner) => {
      await runner.submit({ sequences: [STEP] }).read();
    });
  }
});
