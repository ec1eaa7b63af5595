/** Finds the fastest number of threads: not every logical processor has a core of its own. */

import { STRIP_ROWS } from "../../kernels/wasm/formats.ts";
import { type ProgramContext, ProgramWriter } from "./program.ts";
import type { Matrix } from "./matrix.ts";
import type { ModelWeights } from "./weights.ts";

/** Runs with each number of threads, interleaved. */
const ROUNDS = 3;
/**
 * Rounds before fewer threads are accepted as equally good, because another program may be busy for
 * a moment.
 */
const SURE_ROUNDS = 20;
/** Fewer threads are preferred unless more threads take less than this fraction of their time. */
const WORTH = 0.97;

/** Bytes of the output head that are multiplied at a time, because the whole head takes 10 ms. */
const PART_BYTES = 8 * 2 ** 20;

/**
 * Times products of one token and parts of the output head with all threads, half of them, and so
 * on. Ends the threads that do not make it faster.
 */
export function keepFastestThreads(
  context: ProgramContext,
  weights: ModelWeights,
): void {
  const { pool } = context;
  const counts: number[] = [];
  for (let n = pool.threads; n >= 1; n = Math.floor(n / 2)) counts.push(n);
  if (counts.length === 1) return;
  const parts = partsOf(weights.output);
  const best = counts.map(() => Infinity);
  const fastest = () => best.reduce((most, time, i) => time * WORTH <= best[most]! ? i : most, 0);
  for (let round = 0; round < (fastest() === 0 ? ROUNDS : SURE_ROUNDS); round++) {
    for (const [i, count] of counts.entries()) {
      // Uses another part each time, because the previous one is in the cache.
      const part = parts[(round * counts.length + i) % parts.length]!;
      const list = partProduct(context, part);
      pool.active = count;
      const started = performance.now();
      pool.run(list.start, list.operations.length);
      best[i] = Math.min(best[i]!, performance.now() - started);
    }
  }
  pool.keep(counts[fastest()]!);
}

/** Splits the matrix into parts of about PART_BYTES. */
function partsOf(matrix: Matrix): Matrix[] {
  const { rows, layout, address } = matrix;
  const strips = Math.ceil(rows / STRIP_ROWS);
  const count = Math.max(1, Math.floor(strips * layout.bytes / PART_BYTES));
  const each = Math.floor(strips / count);
  return Array.from({ length: count }, (_, i) => ({
    ...matrix,
    rows: Math.min(each * STRIP_ROWS, rows - i * each * STRIP_ROWS),
    address: address + i * each * layout.bytes,
  }));
}

/** Writes a product of arbitrary activations, because the result is never read. */
function partProduct(context: ProgramContext, head: Matrix): ProgramWriter {
  const { scratch } = context;
  const writer = new ProgramWriter(context, scratch.logitsOperations, false);
  const prepared = writer.prepared([head], scratch.shared);
  writer.multiply(head, prepared, {
    tokens: 1,
    y: scratch.logits,
    stride: scratch.logitsStride,
  });
  writer.join();
  return writer;
}
