/** The bytes and operations that are counted for kernels. */

import assert from "node:assert/strict";
import { decodeCost, promptCost } from "../../bench/kernels/costs.ts";
import { ENVIRONMENT, ScriptedTarget } from "./scripted_target.ts";

Deno.test("decodeCost() counts packed weights read by an embedding, and float32 written", () => {
  const target = new ScriptedTarget();
  // With 64 columns, a row has two blocks of 34 bytes, and the output has 64 numbers.
  assert.deepEqual(decodeCost(target, "embed_q8_0", 0), { operations: 64, bytes: 68 + 256 });
  assert.deepEqual(decodeCost(target, "embed_f32", 0), { operations: 64, bytes: 256 + 256 });
});

Deno.test("decodeCost() counts the positions that each layer sees", () => {
  const target = new ScriptedTarget();
  // One layer sees all 101 positions, the other the last 48. Both have two heads of 32 and one KV
  // head.
  const seen = 101 + 48;
  assert.deepEqual(decodeCost(target, "attention", 100), {
    operations: 4 * 64 * seen,
    bytes: 2 * 32 * 2 * seen + 2 * 8 * 64,
  });
  // Two layers, each with two query heads and a key head to rotate, and no head norm.
  const rotated = 2 * 3 * 32;
  assert.equal(decodeCost(target, "rope_append", 0)?.operations, 3 * rotated);
});

Deno.test("decodeCost() counts the sum over a token's experts in each layer that has experts", () => {
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

Deno.test("kernels with states are counted for all their layers, with one read and write per step", () => {
  class Recurrent extends ScriptedTarget {
    override readonly environment = {
      ...ENVIRONMENT,
      model: {
        ...ENVIRONMENT.model,
        states: { bytes: 1100, operations: 5300, convolution: { bytes: 100, operations: 300 } },
      },
    };
  }
  const target = new Recurrent();
  assert.deepEqual(decodeCost(target, "convolution", 0), { operations: 300, bytes: 200 });
  assert.deepEqual(decodeCost(target, "mamba_scan", 0), { operations: 5000, bytes: 2000 });
  assert.deepEqual(decodeCost(target, "delta_rule", 9), { operations: 5000, bytes: 2000 });
  const step = { start: 0, tokens: 10, last: false };
  assert.deepEqual(promptCost(target, "mamba_scan", step), { operations: 50_000, bytes: 2000 });
  assert.equal(decodeCost(new ScriptedTarget(), "delta_rule", 0), undefined);
});

Deno.test("promptCost() counts each weight, key and value once per step, and operations per token", () => {
  const target = new ScriptedTarget();
  const step = { start: 60, tokens: 10, last: false };
  const [matrix] = target.matrices;
  assert.deepEqual(promptCost(target, "matmul_q8_0", step), {
    operations: 10 * 2 * 1000 * 1000,
    bytes: matrix!.bytes + 10 * 4 * 2000,
  });
  // One layer sees 61 to 70 positions, 70 different ones; the other the last 48, 57 different ones.
  const seen = 10 * (61 + 70) / 2 + 10 * 48;
  assert.deepEqual(promptCost(target, "attention", step), {
    operations: 4 * 64 * seen,
    bytes: 2 * 32 * 2 * (70 + 57) + 2 * 8 * 64 * 10,
  });
  const embed = decodeCost(target, "embed_q8_0", 0)!;
  assert.equal(promptCost(target, "embed_q8_0", step)!.bytes, 10 * embed.bytes);
  assert.equal(promptCost(target, "experts_q8_0", step), undefined);
});

Deno.test("promptCost() counts the output head only for a prompt's last token", () => {
  class Headed extends ScriptedTarget {
    override readonly matrices = [
      { kernel: "matmul_q8_0", rows: ENVIRONMENT.model.vocabSize, columns: 64, bytes: 34_816 },
    ];
  }
  const cost = (last: boolean) =>
    promptCost(new Headed(), "matmul_q8_0", { start: 0, tokens: 32, last })!.operations;
  assert.deepEqual([cost(false), cost(true)], [0, 2 * ENVIRONMENT.model.vocabSize * 64]);
});
