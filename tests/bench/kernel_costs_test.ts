/** Bytes and operations that kernels are said to need. */

import assert from "node:assert/strict";
import { decodeCost } from "../../bench/kernels/costs.ts";
import { ENVIRONMENT, ScriptedTarget } from "./scripted_target.ts";

Deno.test("decodeCost() counts an embedding's weights as they are packed, and float32 written", () => {
  const target = new ScriptedTarget();
  // dim 64: two blocks of 34 bytes, and 64 numbers.
  assert.deepEqual(decodeCost(target, "embed_q8_0", 0), { operations: 64, bytes: 68 + 256 });
  assert.deepEqual(decodeCost(target, "embed_f32", 0), { operations: 64, bytes: 256 + 256 });
});

Deno.test("decodeCost() counts the positions that each layer sees", () => {
  const target = new ScriptedTarget();
  // One layer sees all 101 positions and one the last 48; of each two heads of 32, one of keys.
  const seen = 101 + 48;
  assert.deepEqual(decodeCost(target, "attention", 100), {
    operations: 4 * 64 * seen,
    bytes: 2 * 32 * 2 * seen + 2 * 8 * 64,
  });
  assert.deepEqual(decodeCost(target, "head_norm", 0), { operations: 0, bytes: 0 });
});

Deno.test("decodeCost() counts the sum of a token's experts in each layer that has some", () => {
  class Routed extends ScriptedTarget {
    override readonly environment = {
      ...ENVIRONMENT,
      model: {
        ...ENVIRONMENT.model,
        layerKinds: [
          { layers: 2, heads: 2, kvHeads: 1, headDim: 32, headNorm: false, experts: 3 },
          { layers: 1, heads: 2, kvHeads: 1, headDim: 32, headNorm: false },
        ],
      },
    };
  }
  assert.deepEqual(decodeCost(new Routed(), "combine", 0), {
    operations: 2 * (2 * 64 * 3),
    bytes: 2 * (4 * 64 * (3 + 2)),
  });
});
