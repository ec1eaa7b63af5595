/** Serving of models whose layers have states: an answer does not depend on other requests. */

import assert from "node:assert/strict";
import { loadCpuRunner } from "../../engine/cpu/load_runner.ts";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { StatePositions } from "../../engine/run/state_positions.ts";
import { configOf } from "../model/tiny_config.ts";
import { checkAnswers, type Load, STATEFUL } from "./states.ts";

const RUNNERS: Readonly<Record<string, Load>> = {
  reference: ({ weights, config }, blocks) =>
    Promise.resolve(loadReferenceRunner(weights, config, {
      ...{ blocks: [blocks], maxSequences: 2, maxBatchTokens: 12 },
    })),
  CPU: ({ weights, config }, blocks) =>
    loadCpuRunner(weights, config, {
      ...{ blocks: [blocks], maxSequences: 2, maxBatchTokens: 12, threads: 2 },
    }),
};

for (const [name, load] of Object.entries(RUNNERS)) {
  for (const architecture of STATEFUL) {
    Deno.test(`Engine on the ${name} answers requests to ${architecture} as it does alone, despite preemptions`, () =>
      checkAnswers(architecture, load));
  }
}

Deno.test("StatePositions refuses positions from which a state cannot continue", () => {
  const row = (slot: number, start: number, count: number) => ({
    ...{ slot, start, blockTables: [] },
    tokens: Array.from({ length: count }, () => 1),
  });
  const states = new StatePositions(configOf("qwen35"));
  states.enter({ sequences: [row(0, 0, 5), row(1, 0, 3)] });
  states.enter({ sequences: [{ ...row(0, 5, 1), tokens: null }], steps: 4 });
  assert.throws(
    () => states.enter({ sequences: [row(1, 3, 1), row(0, 5, 1)] }),
    /slot 0 continues at 5, but its state is at 9/,
  );
  // Nothing of the refused batch entered.
  states.enter({ sequences: [row(1, 3, 1), row(0, 9, 1)] });
  states.enter({ sequences: [row(0, 0, 1)] });
  assert.throws(() => states.enter({ sequences: [row(2, 1, 1)] }), /slot 2 continues at 1/);
  const plain = new StatePositions(configOf("llama"));
  plain.enter({ sequences: [row(0, 7, 1)] });
});
