/** Reference runners of tiny models, and functions that run a batch. */

import { loadReferenceRunner, type ReferenceRunnerOptions } from "../../engine/reference/runner.ts";
import { openGguf } from "../../engine/files/gguf.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { tablesAlone } from "../../engine/run/kv_blocks.ts";
import { type BatchSequence, BLOCK_TOKENS, type ModelRunner } from "../../engine/run/runner.ts";
import {
  ggufBytes,
  type TinyArchitecture,
  type TinyFormat,
  tinyModel,
  tinyParts,
} from "../../fixtures/tiny_models.ts";
import { withFile } from "../files/on_disk.ts";

/** Returns a runner of the model in these bytes of a GGUF file. */
export function runnerOf(gguf: Uint8Array, options?: ReferenceRunnerOptions): ModelRunner {
  return withFile("model.gguf", gguf, (path) => {
    const file = openGguf(path);
    try {
      const { config, weights } = readModel(file);
      return loadReferenceRunner(weights, config, options);
    } finally {
      file.close();
    }
  });
}

/** Returns the tiny llama in float32, with `change` applied to each weight of these tensors. */
export function changed(
  names: readonly string[],
  change: (weight: number, index: number) => number,
) {
  const parts = tinyParts("llama", "F32");
  for (const [at, tensor] of parts.tensors.entries()) {
    if (!names.includes(tensor.name)) continue;
    const [bytes] = [...tensor.data()];
    const weights = new Float32Array(bytes!.buffer, bytes!.byteOffset, bytes!.length / 4);
    weights.set(weights.map(change));
    parts.tensors[at] = { ...tensor, data: () => [bytes!] };
  }
  return ggufBytes(parts);
}

export function tinyRunner(
  architecture: TinyArchitecture,
  format: TinyFormat,
  options?: ReferenceRunnerOptions,
): ModelRunner {
  return runnerOf(tinyModel(architecture, format), options);
}

/** Returns the blocks `first`, `first + 1`, … for this many tokens. */
export function blocksFor(tokens: number, first = 0): number[] {
  return Array.from({ length: Math.ceil(tokens / BLOCK_TOKENS) }, (_, i) => first + i);
}

/** Returns the logits after each of `ids`, which enter in chunks of `chunk` tokens. */
export async function logitsOf(
  runner: ModelRunner,
  ids: readonly number[],
  {
    chunk = ids.length,
    blockTables = tablesAlone(runner.limits.blocks, ids.length),
    slot = 0,
  } = {},
): Promise<Float32Array[]> {
  const rows: Float32Array[] = [];
  for (let start = 0; start < ids.length; start += chunk) {
    const tokens = ids.slice(start, start + chunk);
    rows.push(...await run(runner, { slot, tokens, start, blockTables, logits: "all" }));
  }
  return rows;
}

/** Runs one sequence alone and returns its rows of logits. */
export async function run(
  runner: ModelRunner,
  sequence: BatchSequence,
): Promise<readonly Float32Array[]> {
  const { logits } = await runner.submit({ sequences: [sequence] }).read();
  return logits[0]!;
}

/** Runs one sequence alone for `steps` steps and returns the tokens that it sampled. */
export async function sample(
  runner: ModelRunner,
  sequence: BatchSequence,
  steps = 1,
): Promise<readonly number[]> {
  const { tokens } = await runner.submit({ sequences: [sequence], steps }).read();
  return tokens[0]!;
}
