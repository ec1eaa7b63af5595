/** Bytes and operations that a kernel needs, from the shapes; what it does beyond them is waste. */

import type { Target } from "./target.ts";

/** Of all calls of one kernel in a decode step of one sequence. */
export interface Cost {
  readonly operations: number;
  readonly bytes: number;
}

/**
 * The cost of the kernel `name` in a decode step whose token is at `position`; undefined where it
 * is not counted, as of those that move a few words.
 */
export function decodeCost(target: Target, name: string, position: number): Cost | undefined {
  const { model, engine } = target.environment;
  const { layers, heads, kvHeads, headDim, dim, vocabSize } = model;
  const kvBytes = engine.kvType === "f16" ? 2 : 4;
  const queries = heads * headDim;
  const keys = kvHeads * headDim;
  if (name.startsWith("matmul_")) {
    const own = target.matrices.filter(({ type }) => name === `matmul_${type.toLowerCase()}`);
    return {
      operations: 2 * sum(own.map(({ rows, columns }) => rows * columns)),
      bytes: sum(own.map(({ bytes, rows, columns }) => bytes + 4 * (rows + columns))),
    };
  }
  if (name.startsWith("embed_")) return { operations: dim, bytes: 8 * dim };
  if (name === "attention") {
    const positions = position + 1;
    return {
      operations: layers * 4 * queries * positions,
      bytes: layers * (2 * keys * positions * kvBytes + 8 * queries),
    };
  }
  if (name === "rope_append") {
    return {
      operations: layers * 3 * (queries + keys),
      bytes: layers * (4 * (queries + 2 * keys) + 4 * queries + 2 * keys * kvBytes),
    };
  }
  if (name === "head_norm") {
    return { operations: layers * 4 * (queries + keys), bytes: layers * 8 * (queries + keys) };
  }
  if (name === "sample_chunks") return { operations: vocabSize, bytes: 4 * vocabSize };
  return undefined;
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
