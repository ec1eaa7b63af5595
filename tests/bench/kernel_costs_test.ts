/** Bytes and operations that kernels are said to need. */

import assert from "node:assert/strict";
import { decodeCost } from "../../bench/kernels/costs.ts";
import { ScriptedTarget } from "./scripted_target.ts";

Deno.test("decodeCost() counts an embedding's weights as they are packed, and float32 written", () => {
  const target = new ScriptedTarget();
  // dim 64: two blocks of 34 bytes, and 64 numbers.
  assert.deepEqual(decodeCost(target, "embed_q8_0", 0), { operations: 64, bytes: 68 + 256 });
  assert.deepEqual(decodeCost(target, "embed_f32", 0), { operations: 64, bytes: 256 + 256 });
});

Deno.test("decodeCost() counts the sum of a token's experts in each layer", () => {
  class Routed extends ScriptedTarget {
    // Two layers, three experts a token, each with a gate, an up and a down.
    override readonly matrices = Array.from({ length: 2 * 3 * 3 }, () => (
      { kernel: "experts_q8_0", rows: 64, columns: 64, bytes: 4352 }
    ));
  }
  assert.deepEqual(decodeCost(new Routed(), "combine", 0), {
    operations: 2 * (2 * 64 * 3),
    bytes: 2 * (4 * 64 * (3 + 2)),
  });
});
