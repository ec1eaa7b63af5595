/** Compares every kernel with kernels/reference.ts, in the tunings for both adapter classes. */

import assert from "node:assert/strict";
import { DeviceError } from "../../engine/errors.ts";
import { RandomSource } from "../../engine/files/random_weights.ts";
import {
  convolutionError,
  gatesError,
  stateError,
  stateNormError,
} from "../../engine/gpu/self_test/recurrent.ts";
import { attentionError, normAddError, ropeAppendError } from "../../engine/gpu/self_test/heads.ts";
import {
  embedError,
  type ProductCase,
  productError,
  randomTensor,
  upload,
} from "../../engine/gpu/self_test/products.ts";
import { PLANES_TOLERANCE } from "../../engine/gpu/self_test/self_test.ts";
import { type KernelHarness, plainBatch } from "../../engine/gpu/self_test/kernel_harness.ts";
import type { RecurrentSpec } from "../../engine/model/config.ts";
import { dotConstants } from "../../kernels/formats.ts";
import { GROUP_LAYOUT, type TensorType } from "../../kernels/tensor_types.ts";
import { tuningFor } from "../../kernels/tuning.ts";
import { openHarnesses } from "./kernel_harnesses.ts";

const { gpu, software, all } = await openHarnesses();
const own = software.with({
  ...tuningFor("software"),
  matmul: { by: "rows", lanes: 8, groups: 2, share: false },
});
const { hardware } = all;
/** The hardware tuning with activations as planes of bytes. */
const planes = hardware?.with({
  ...hardware.tuning,
  matmul: { by: "lanes", split: 32, tilesFrom: 17, activations: "int8" },
});
/** `own`, whose lanes do not share activations, needs subgroups of at least eight lanes. */
const HARNESSES = {
  ...all,
  ...(gpu.subgroupSize >= 8 && { own }),
  ...(planes && { planes }),
};

const TYPES = Object.keys(GROUP_LAYOUT) as TensorType[];

/** A software driver takes 5–15 s to compile a prompt kernel, so only test:long tests all types. */
const TILE_TYPES: readonly TensorType[] = Deno.env.get("TVLLM_TEST_LONG")
  ? TYPES
  : ["F16", "Q4_0", "Q6_K"];

/**
 * Except in test:long these represent all types: one has one scale per span, one has bytes that are
 * made signed, and one has two scales per span and minima.
 */
const PLANES_TYPES = Deno.env.get("TVLLM_TEST_LONG")
  ? TYPES.filter((type) => dotConstants(type) !== undefined)
  : ["Q4_0", "Q8_0", "Q2_K"];

/** Relative to Σ|w·x| (see productError): sixteen units in the last place of a float32. */
const PRODUCT_TOLERANCE = 1e-6;
/** How activations are loaded does not depend on the type, so these represent all. */
const OWN_TYPES: readonly TensorType[] = ["F32", "Q4_1", "Q6_K"];

async function assertProduct(harness: KernelHarness, c: ProductCase): Promise<void> {
  const error = await productError(harness, c);
  assert.ok(
    error <= (harness === planes ? PLANES_TOLERANCE : PRODUCT_TOLERANCE),
    `off by ${error}: ${JSON.stringify(c)}`,
  );
}

Deno.test("the adapter can run both tunings", () => {
  assert.equal(gpu.failure, undefined);
  assert.ok(gpu.limits.maxComputeInvocationsPerWorkgroup >= 256);
});

for (const type of TYPES) {
  const block = GROUP_LAYOUT[type].weights;
  const columns = block === 256
    ? [256, 768]
    : block > 32
    ? [block, 3 * block, 768]
    : [32, 96, 256, 768];
  for (const [tuning, harness] of Object.entries(HARNESSES)) {
    if (harness === own && !OWN_TYPES.includes(type)) continue;
    if (harness === planes && !PLANES_TYPES.includes(type)) continue;
    Deno.test(`matmul in ${type}, ${tuning}: any number of rows, columns and tokens`, async () => {
      for (const [i, tokens] of [1, 2, 3, 4, 5, 9].entries()) {
        const rows = [1, 3, 5, 37, 64, 69][i]!;
        for (const c of columns) await assertProduct(harness, { type, rows, columns: c, tokens });
      }
      for (const rows of [1, 3, 5, 37, 133]) {
        await assertProduct(harness, { type, rows, columns: columns.at(-1)!, tokens: 1 });
      }
    });

    Deno.test(`matmul in ${type}, ${tuning}: norm, bias, residual, gates, gathered rows`, async () => {
      for (const tokens of [1, 5]) {
        const shape = { type, rows: 36, columns: 256, tokens };
        await assertProduct(harness, { ...shape, norm: true });
        await assertProduct(harness, { ...shape, bias: true, norm: true });
        await assertProduct(harness, { ...shape, accumulate: true });
        await assertProduct(harness, { ...shape, gate: "both", norm: true });
        await assertProduct(harness, { ...shape, gate: "ups", norm: true });
        await assertProduct(harness, { ...shape, gate: "both", activation: "gelu" });
        await assertProduct(harness, { ...shape, gate: "ups", activation: "gelu" });
        await assertProduct(harness, { ...shape, rows: 37, gather: tokens, norm: true });
      }
      await assertProduct(harness, { type, rows: 37, columns: 256, tokens: 13, gather: 3 });
    });
  }

  if (all["hardware"] && TILE_TYPES.includes(type)) {
    Deno.test(`matmul in ${type}, hardware: tiles of prompts`, async () => {
      for (const tokens of [17, 32, 40]) {
        const shape = { type, columns: 768, tokens };
        await assertProduct(all["hardware"]!, { ...shape, rows: 37 });
        await assertProduct(all["hardware"]!, { ...shape, rows: 101, norm: true, bias: true });
        await assertProduct(all["hardware"]!, { ...shape, rows: 72, norm: true, gate: "both" });
      }
      const gathered = { type, rows: 37, columns: 256, tokens: 40, gather: 16, norm: true };
      await assertProduct(all["hardware"]!, gathered);
    });
  }

  Deno.test(`matmul in ${type}: a matrix in several buffers`, async () => {
    for (const harness of Object.values(all)) {
      // Gates and ups need two tiles, each of four rows × 768 columns (at most 12 KiB), or of 64
      // rows with the hardware tuning.
      const bytes = harness === software ? 32 << 10 : 512 << 10;
      const small = harness.with(harness.tuning, limitsOf(bytes));
      const rows = harness === software ? 133 : 801;
      const shape = { type, rows, columns: 768, tokens: 1 };
      await assertProduct(small, { ...shape, bias: true });
      await assertProduct(small, { ...shape, rows: rows - 1, gate: "both" });
    }
  });

  Deno.test(`embed in ${type}: rows from every buffer`, async () => {
    for (const harness of Object.values(all)) {
      const ids = [0, 36, 5, 5, 35, 17, 4];
      const shape = { type, rows: 37, columns: 256, ids, scale: 1.5 };
      // A weight takes one product and one sum, so it may be off by one rounding.
      assert.ok(await embedError(harness, shape) <= 3e-7);
    }
    const small = software.with(software.tuning, limitsOf(32 << 10));
    const ids = [132, 0, 100, 31, 77];
    assert.ok(await embedError(small, { type, rows: 133, columns: 768, ids, scale: 1 }) <= 3e-7);
  });
}

Deno.test("a binding that is too small for a tile of rows is refused", () => {
  // Four rows of 768 float32 weights are 12 KiB.
  const small = software.with(software.tuning, limitsOf(8 << 10));
  const tensor = randomTensor(
    "w",
    { type: "F32", rows: 8, columns: 768 },
    new RandomSource(1, "w"),
  );
  assert.throws(
    () => upload(small, [tensor]),
    (error) =>
      error instanceof DeviceError && /^Cannot upload 'w': .* 8192 bytes/.test(error.message),
  );
});

Deno.test("KernelHarness.run() gives all buffers back if the device refuses the commands", async () => {
  const fail = async () => {
    // No other test reads this many bytes, so the pool has no such buffer yet.
    const buffer = software.buffer(5 << 20);
    buffer.destroy();
    await assert.rejects(software.run(plainBatch(1), () => [], [buffer]), /Cannot run a kernel: /);
  };
  await fail();
  const before = { ...gpu.memory };
  await fail();
  assert.deepEqual(gpu.memory, before);
  assert.equal(gpu.failure, undefined);
});

/** The adapter's limits, but with bindings of at most `bytes`. */
function limitsOf(bytes: number): GPUSupportedLimits {
  return {
    maxStorageBufferBindingSize: bytes,
    maxBufferSize: gpu.limits.maxBufferSize,
  } as GPUSupportedLimits;
}

const HEADS = [
  { heads: 3, kvHeads: 1, headDim: 32 },
  { heads: 4, kvHeads: 2, headDim: 64 },
  { heads: 2, kvHeads: 2, headDim: 128 },
] as const;

for (const shape of HEADS) {
  const name = `${shape.heads} heads, ${shape.kvHeads} of keys, ${shape.headDim} wide`;
  for (const [tuning, harness] of Object.entries(all)) {
    for (const kv of ["f16", "f32"] as const) {
      Deno.test(`rope_append, ${tuning}, ${kv}: ${name}`, async () => {
        for (const layout of ["interleaved", "half"] as const) {
          // In a layer without RoPE no dimension rotates.
          for (const ropeDims of [shape.headDim, shape.headDim / 2, 0]) {
            const temperature = { beta: ropeDims < shape.headDim ? 0.7 : 0, context: 8 };
            for (const headNorm of [true, false]) {
              const rotation = { ropeDims, layout, temperature, headNorm, kv };
              const error = await ropeAppendError(harness, { ...shape, ...rotation });
              // WGSL does not specify to which neighbour pack2x16float rounds, so the error may be
              // 2⁻¹⁰ of the number.
              const most = kv === "f16" ? 1e-3 : headNorm ? 2e-6 : 1e-6;
              assert.ok(error <= most, `${layout} ${ropeDims}, norm ${headNorm}: ${error}`);
            }
          }
        }
      });

      Deno.test(`attention, ${tuning}, ${kv}: ${name}`, async () => {
        const positions = [0, 1, 15, 16, 17, 31, 32, 300];
        for (const window of [undefined, 20]) {
          const error = await attentionError(harness, {
            ...shape,
            kv,
            positions,
            ...(window !== undefined && { window }),
          });
          assert.ok(error <= 1e-5, `window ${window}: ${error}`);
        }
      });
    }
  }
}

/** Sizes like those of Qwen3.5 and of Nemotron-H, and sizes that fill no workgroup. */
const WIDE = { keyHeads: 1, valueHeads: 2, keyDim: 128, valueDim: 128, taps: 4 };
const NARROW = { keyHeads: 2, valueHeads: 6, keyDim: 12, valueDim: 20, taps: 3 };
const STATES: readonly RecurrentSpec[] = [
  { kind: "delta-net", ...WIDE, tiled: true },
  { kind: "delta-net", ...NARROW, tiled: false },
  { kind: "mamba", ...WIDE, valueDim: 64, convolutionBias: true },
  { kind: "mamba", ...NARROW, convolutionBias: false },
];
for (const [tuning, harness] of Object.entries(all)) {
  Deno.test(`layers with states, ${tuning}`, async () => {
    for (const net of STATES) {
      const errors = {
        convolution: await convolutionError(harness, net),
        norm: await stateNormError(harness, net),
        rule: await stateError(harness, net),
      };
      assert.ok(
        errors.convolution <= 2e-6 && errors.norm <= 2e-6 && errors.rule <= 2e-5,
        `${JSON.stringify(net)}: ${JSON.stringify(errors)}`,
      );
    }
  });
  Deno.test(`gates of heads and shared experts, ${tuning}`, async () => {
    for (const width of [32, 100, 768]) {
      const error = await gatesError(harness, width);
      assert.ok(error <= 2e-6, `${width}: ${error}`);
    }
  });
}

for (const [tuning, harness] of Object.entries(all)) {
  Deno.test(`norm_add, ${tuning}`, async () => {
    for (const dim of [32, 96, 768]) {
      const error = await normAddError(harness, { dim, tokens: 3 });
      assert.ok(error <= 2e-6, `${dim}: ${error}`);
    }
  });
}

// In sequences of one token, several workgroups share the token's positions. Groups of seven, five
// and three heads are not multiples of a workgroup's four queries.
const DECODING = [
  { heads: 4, kvHeads: 2, headDim: 64 },
  { heads: 7, kvHeads: 1, headDim: 80 },
  { heads: 5, kvHeads: 1, headDim: 96 },
  { heads: 6, kvHeads: 2, headDim: 128 },
  { heads: 2, kvHeads: 1, headDim: 256 },
] as const;

for (const [tuning, harness] of Object.entries(all)) {
  Deno.test(`attention, ${tuning}: one token per sequence, heads of every size`, async () => {
    for (const [i, shape] of DECODING.entries()) {
      for (const positions of [[900], [0, 63, 64, 300]]) {
        for (const window of [undefined, 100]) {
          const error = await attentionError(harness, {
            ...shape,
            // Heads are rotated only with the float32 cache (see attentionError).
            kv: i % 2 === 0 ? "f16" : "f32",
            positions,
            last: 1,
            ...(window !== undefined && { window }),
          });
          assert.ok(error <= 1e-5, `${JSON.stringify(shape)} at ${positions}: ${error}`);
        }
      }
    }
  });
}

// In a prompt, tokens of one sequence share a workgroup, and one may have tokens of two sequences.
for (const [tuning, harness] of Object.entries(all)) {
  Deno.test(`attention, ${tuning}: a long prompt beside other sequences`, async () => {
    for (const heads of [1, 2]) {
      const shape = { heads, kvHeads: 1, headDim: 64, kv: "f16" as const };
      for (const window of [undefined, 30]) {
        const error = await attentionError(harness, {
          ...shape,
          positions: [5, 200, 100],
          last: 21,
          ...(window !== undefined && { window }),
        });
        assert.ok(error <= 1e-5, `${heads} heads, window ${window}: ${error}`);
      }
    }
  });
}

Deno.test("no kernel caused a device error", () => {
  assert.equal(gpu.failure, undefined);
});
