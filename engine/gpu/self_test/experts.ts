/** Compares the kernels of routed experts on the device with kernels/reference.ts. */

import { activate, matmul, type PackedMatrix, topExperts } from "../../../kernels/reference.ts";
import type { TensorType } from "../../../kernels/tensor_types.ts";
import { RandomSource } from "../../files/random_weights.ts";
import { groupSlots } from "../experts.ts";
import { Weights } from "../weights.ts";
import { floats, magnitudes, maxError, randomTensor } from "./products.ts";
import { type KernelHarness, memoryFile, type MemoryTensor, plainBatch } from "./kernel_harness.ts";

/** A router whose choice is checked. */
export interface RoutingCase {
  readonly experts: number;
  readonly slots: number;
  readonly normalized: boolean;
  /** If set, scores are sigmoids, plus a bias for the choice only. */
  readonly sigmoid?: { readonly scale: number } | undefined;
  readonly tokens: number;
}

/** Returns the largest relative error of a weight, or Infinity if an expert is wrong. */
export async function topKError(harness: KernelHarness, c: RoutingCase): Promise<number> {
  const random = new RandomSource(3, JSON.stringify(c));
  // Multiples of 0.5, so that there are ties.
  const logits = floats(c.tokens * c.experts, random).map((v) => Math.round(4 * v) / 2);
  const routes = harness.buffer(c.tokens * c.slots * 8);
  const bias = floats(c.experts, random);
  const { sigmoid, normalized } = c;
  const spec = { count: c.experts, used: c.slots, normalized, ...(sigmoid && { sigmoid }) };
  const rule = { count: c.slots, normalized, ...(sigmoid && { sigmoid: { ...sigmoid, bias } }) };
  const [result] = await harness.run(plainBatch(c.tokens), ({ tokens }) => {
    const own = sigmoid && { bias: harness.buffer(bias) };
    const scratch = { logits: harness.buffer(logits), routes, ...own };
    return [harness.build().topK(spec, scratch).at(tokens, 0)];
  }, [routes]);
  const words = new Uint32Array(result!);
  const weights = new Float32Array(result!);
  let worst = 0;
  for (let token = 0; token < c.tokens; token++) {
    const own = logits.subarray(token * c.experts, (token + 1) * c.experts);
    for (const [slot, { expert, weight }] of topExperts(own, rule).entries()) {
      const at = 2 * (token * c.slots + slot);
      if (words[at] !== expert) return Infinity;
      worst = maxError(worst, Math.abs(weights[at + 1]! - weight) / weight);
    }
  }
  return worst;
}

/** Matrix products of tokens with their experts. */
export interface ExpertCase {
  readonly type: TensorType;
  readonly experts: number;
  readonly slots: number;
  /** Rows of one expert's matrix. */
  readonly rows: number;
  readonly columns: number;
  readonly tokens: number;
  /** Gates and ups in one matrix ("both"), or ups whose gates are in y ("ups"). */
  readonly gate?: "both" | "ups";
  /** Whether x has a row for each slot instead of each token. */
  readonly perSlot?: boolean;
  /** Whether slots are sorted by expert first, if there are enough of them. */
  readonly grouped?: boolean;
}

/** Returns the largest error of an element in units of Σ|w·x|; see `productError`. */
export async function expertsError(harness: KernelHarness, c: ExpertCase): Promise<number> {
  const { experts: count, slots, rows, columns, tokens, perSlot = false } = c;
  const random = new RandomSource(4, JSON.stringify(c));
  const stack = (name: string): MemoryTensor => {
    const { info, bytes } = randomTensor(name, { ...c, rows: count * rows }, random);
    return { info: { ...info, shape: [count, rows, columns] }, bytes };
  };
  const gates = c.gate === "both" ? stack("gates") : undefined;
  const ups = stack("ups");
  const weights = new Weights(
    harness.gpu,
    memoryFile(gates ? [gates, ups] : [ups]),
    harness.tuning,
  );
  const matrix = gates ? weights.experts("gates", "ups") : weights.experts("ups");
  weights.upload();
  const x = floats((perSlot ? tokens * slots : tokens) * columns, random);
  const routes = Uint32Array.from(
    { length: tokens * slots * 2 },
    (_, i) => i % 2 === 0 ? random.uint32() % count : 0,
  );
  const before = floats(tokens * slots * rows, random);
  const y = harness.buffer(before);
  const [result] = await harness.run(plainBatch(tokens), (counts) => {
    const build = harness.build();
    const [routed, entries] = [
      harness.buffer(routes),
      harness.buffer((2 * tokens * slots + 1) * 8),
    ];
    const experts = { count, slots, routes: routed, perSlot, ...(c.grouped && { entries }) };
    const operations = build.matmul(matrix, {
      x: harness.buffer(x),
      y,
      stride: rows,
      over: "tokens",
      experts,
      ...(c.gate && { gate: c.gate }),
    });
    const sorted = c.grouped ? [groupSlots(build, { count, slots, routes: routed, entries })] : [];
    return [...sorted, ...operations].map((operation) =>
      operation.at(counts.tokens, counts.attentionParts)
    );
  }, [y]);
  harness.free(matrix);
  const actual = new Float32Array(result!);
  let worst = 0;
  for (let slot = 0; slot < tokens * slots; slot++) {
    const row = perSlot ? slot : Math.floor(slot / slots);
    const input = x.subarray(row * columns, (row + 1) * columns);
    const expert = routes[2 * slot]!;
    const up = matrixOf(ups, expert);
    const gate = gates && matrixOf(gates, expert);
    const [product, size] = [matmul(up, input), magnitudes(up, input)];
    const [gateProduct, gateSize] = gate ? [matmul(gate, input), magnitudes(gate, input)] : [];
    for (let r = 0; r < rows; r++) {
      const at = slot * rows + r;
      const g = gateProduct?.[r] ?? (c.gate === "ups" ? before[at]! : undefined);
      const expected = product[r]! * (g === undefined ? 1 : activate(g, "silu"));
      // The slope of silu is at most 1.1.
      const unit = size[r]! * (g === undefined ? 1 : Math.abs(activate(g, "silu"))) +
        1.1 * (gateSize?.[r] ?? 0) * Math.abs(product[r]!);
      worst = maxError(worst, Math.abs(actual[at]! - expected) / unit);
    }
  }
  return worst;
}

/**
 * Returns the largest error of the weighted sum of experts' results, in units of the sum of
 * magnitudes.
 */
export async function combineError(
  harness: KernelHarness,
  { dim, slots, tokens, add }: { dim: number; slots: number; tokens: number; add: boolean },
): Promise<number> {
  const random = new RandomSource(5);
  const parts = floats(tokens * slots * dim, random);
  const weights = floats(tokens * slots * 2, random);
  const before = floats(tokens * dim, random);
  harness.uploader.write(harness.scratch.hidden, 0, before);
  const [result] = await harness.run(plainBatch(tokens), (counts) => {
    const [partsBuffer, routes] = [harness.buffer(parts), harness.buffer(weights)];
    const y = harness.scratch.hidden;
    const sum = harness.build({ dim }).combine(slots, { routes, parts: partsBuffer }, { y, add });
    return [sum.at(counts.tokens, counts.attentionParts)];
  }, [harness.scratch.hidden]);
  const actual = new Float32Array(result!);
  let worst = 0;
  for (const [at, start] of before.entries()) {
    const token = Math.floor(at / dim);
    let [sum, unit] = add ? [start, Math.abs(start)] : [0, 0];
    for (let slot = token * slots; slot < (token + 1) * slots; slot++) {
      const part = weights[2 * slot + 1]! * parts[slot * dim + at % dim]!;
      sum += part;
      unit += Math.abs(part);
    }
    worst = maxError(worst, Math.abs(actual[at]! - sum) / unit);
  }
  return worst;
}

function matrixOf({ info, bytes }: MemoryTensor, expert: number): PackedMatrix {
  const [count, rows, cols] = info.shape as [number, number, number];
  const size = bytes.length / count;
  return { type: info.type, rows, cols, bytes: bytes.subarray(expert * size, (expert + 1) * size) };
}
