/** How many threads are fastest: not all processors that the system names have a core of their own. */

import { type ProgramContext, ProgramWriter } from "./program.ts";
import type { Matrix, ModelWeights } from "./weights.ts";

/** Runs of each number of threads, interleaved. */
const ROUNDS = 3;
/** Rounds before fewer threads are believed to be as good: another program may be busy for a moment. */
const SURE_ROUNDS = 20;
/** Fewer threads are as good as more that are not faster by this. */
const WORTH = 0.97;

/**
 * Multiplies one token by the output head with all threads, half of them, and so on, and lets those
 * go that gain nothing.
 */
export function keepFastestThreads(
  context: ProgramContext,
  weights: ModelWeights,
): void {
  const { pool } = context;
  const counts: number[] = [];
  for (let n = pool.threads; n >= 1; n = Math.floor(n / 2)) counts.push(n);
  if (counts.length === 1) return;
  const list = headProduct(context, weights.output);
  const best = counts.map(() => Infinity);
  const fastest = () => best.reduce((most, time, i) => time * WORTH <= best[most]! ? i : most, 0);
  for (let round = 0; round < (fastest() === 0 ? ROUNDS : SURE_ROUNDS); round++) {
    for (const [i, count] of counts.entries()) {
      pool.active = count;
      const started = performance.now();
      pool.run(list.start, list.operations.length);
      best[i] = Math.min(best[i]!, performance.now() - started);
    }
  }
  pool.keep(counts[fastest()]!);
}

/** The product of whatever the activations are, as nobody reads the result. */
function headProduct(context: ProgramContext, head: Matrix): ProgramWriter {
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
