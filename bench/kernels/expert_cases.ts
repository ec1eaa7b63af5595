/** The kernels of routed experts: routing, products with the experts chosen, and their sum. */

import { packedBytes } from "../../kernels/tensor_types.ts";
import { RandomSource } from "../../engine/files/random_weights.ts";
import { Weights } from "../../engine/gpu/weights.ts";
import { floats, randomTensor } from "../../engine/gpu/self_test/products.ts";
import { type KernelHarness, memoryFile } from "../../engine/gpu/self_test/kernel_harness.ts";
import { combineCost, productCost, topKCost } from "./costs.ts";
import {
  type Calls,
  MOST_COPIES,
  MOST_TOKENS,
  repeated,
  SIZES,
  type TimedKernel,
} from "./timing.ts";

/** As in Qwen3 30B-A3B. */
const ROUTED = 128;
const SLOTS = 8;
/**
 * A type with groups of 32, so that any shape is possible. Other types differ as in plain products.
 */
const TYPE = "Q4_0";

/** Cases of experts whose matrices have this shape. */
export function expertCases(
  harness: KernelHarness,
  { rows, columns }: { readonly rows: number; readonly columns: number },
): TimedKernel[] {
  const random = new RandomSource(8);
  const config = { count: ROUTED, used: SLOTS, ffnDim: 0, normalized: true };
  const one = productCost({ rows, columns, bytes: packedBytes(TYPE, rows * columns) }, 1);
  return [
    {
      kernel: "top_k",
      shape: `${SLOTS} of ${ROUTED} experts`,
      cost: (tokens) => topKCost(ROUTED, tokens),
      prepare: () => {
        const logits = harness.buffer(floats(MOST_TOKENS * ROUTED, random));
        const routes = harness.buffer(MOST_TOKENS * SLOTS * 8);
        const operation = harness.build().topK(config, { logits, routes });
        return repeated(harness, (tokens) => operation.at(tokens, 0));
      },
    },
    {
      kernel: `experts ${TYPE}`,
      shape: `${SLOTS} of ${rows} × ${columns}`,
      cost: (tokens) => ({
        operations: one.operations * SLOTS * tokens,
        bytes: one.bytes * SLOTS * tokens,
      }),
      prepare: () => products(harness, { rows, columns }, random),
    },
    {
      kernel: "combine",
      shape: `${SLOTS} of ${columns}`,
      cost: (tokens) => combineCost(columns, SLOTS, tokens),
      prepare: () => {
        const parts = harness.buffer(floats(MOST_TOKENS * SLOTS * columns, random));
        const routes = harness.buffer(floats(MOST_TOKENS * SLOTS * 2, random));
        const target = { y: harness.scratch.hidden, add: true };
        const operation = harness.build({ dim: columns }).combine(
          SLOTS,
          { routes, parts },
          target,
        );
        return repeated(harness, (tokens) => operation.at(tokens, 0));
      },
    },
  ];
}

// More experts than fit into most caches. The calls use them in turn.
function products(
  harness: KernelHarness,
  { rows, columns }: { readonly rows: number; readonly columns: number },
  random: RandomSource,
): Calls {
  const { coldBytes } = SIZES[harness.gpu.driver];
  const needed = Math.ceil(coldBytes / packedBytes(TYPE, rows * columns) / SLOTS);
  const calls = Math.min(MOST_COPIES / SLOTS, Math.max(MOST_TOKENS, needed));
  const count = calls * SLOTS;
  const one = randomTensor("experts", { type: TYPE, rows, columns }, random);
  const bytes = new Uint8Array(count * one.bytes.length);
  for (let i = 0; i < count; i++) bytes.set(one.bytes, i * one.bytes.length);
  const info = { ...one.info, shape: [count, rows, columns], byteLength: bytes.length };
  const file = memoryFile([{ info, bytes }]);
  const weights = new Weights(harness.gpu, file, harness.tuning);
  const matrix = weights.experts("experts");
  weights.upload();
  harness.free(matrix);
  const x = harness.buffer(floats(MOST_TOKENS * columns, random));
  const y = harness.buffer(MOST_TOKENS * SLOTS * rows * 4);
  const operations = Array.from({ length: calls }, (_, call) => {
    const routes = harness.buffer(Uint32Array.from(
      { length: MOST_TOKENS * SLOTS * 2 },
      (_, i) => i % 2 === 0 ? (call * SLOTS + i / 2) % count : 0,
    ));
    const experts = { count, slots: SLOTS, routes, perSlot: false };
    return harness.build().matmul(matrix, { x, y, stride: rows, over: "tokens", experts });
  });
  return {
    at: (call, tokens) => operations[call]!.map((operation) => operation.at(tokens, 0)),
    count: calls,
  };
}
