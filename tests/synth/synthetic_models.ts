/** Checks of running synthetic models, shared by their tests. */

import assert from "node:assert/strict";
import { openModelFile } from "../../engine/files/open_model.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import {
  type DirectoryFormat,
  type MlxFormat,
  syntheticDirectory,
} from "../../engine/synthetic/directory.ts";
import { type SyntheticFormat, syntheticModel } from "../../engine/synthetic/models.ts";
import { modelTokenizer } from "../../engine/text/model_tokenizer.ts";
import { preTokenizer } from "../../engine/text/pre_tokenizers.ts";
import { ggufBytes } from "../../fixtures/tiny_models.ts";
import { safetensorsBytes } from "../../fixtures/tiny_safetensors.ts";
import { assertAllClose, logSoftmax } from "../assert.ts";
import { withFile, withFiles } from "../files/on_disk.ts";
import { logitsOf } from "../reference/tiny_runner.ts";

/** Returns the bytes of the whole GGUF file; only for tiny models. */
export function bytesOf(name: string, format: SyntheticFormat, seed = 1): Uint8Array {
  const { metadata, tensors } = syntheticModel(name, format, seed);
  return ggufBytes({ metadata: new Map(metadata), tensors: [...tensors] });
}

/** Runs the model, whose probabilities must be neither flat nor constant. */
export async function checkRuns(name: string, format: SyntheticFormat): Promise<void> {
  await assertKnows(withFile("m.gguf", bytesOf(name, format), opened), format);
}

/** Does the same for a directory in one of MLX's formats. */
export async function checkMlx(name: string, format: MlxFormat): Promise<void> {
  await assertKnows(withFiles(directoryOf(name, format), opened), format);
}

async function assertKnows(
  { runner, ids }: ReturnType<typeof opened>,
  format: string,
): Promise<void> {
  const best = (await logitsOf(runner, ids)).map((row) => {
    const probabilities = logSoftmax(row).map(Math.exp);
    const most = Math.max(...probabilities);
    assert.ok(most > 3 / probabilities.length, `${format}: all alike, best ${most}`);
    return most;
  });
  assert.ok(Math.min(...best) < 0.9, `${format}: one token always, ${best}`);
}

/** Asserts that the model has the same logits in safetensors and in GGUF. */
export async function checkDirectory(name: string, format: DirectoryFormat): Promise<void> {
  const [gguf, safetensors] = [
    withFile("m.gguf", bytesOf(name, format), opened),
    withFiles(directoryOf(name, format), opened),
  ];
  assert.deepEqual(safetensors.ids, gguf.ids);
  assertAllClose(
    (await logitsOf(safetensors.runner, gguf.ids)).at(-1)!,
    (await logitsOf(gguf.runner, gguf.ids)).at(-1)!,
    { absolute: 1e-4 },
  );
}

function directoryOf(
  name: string,
  format: DirectoryFormat | MlxFormat,
): Record<string, Uint8Array | string> {
  const rule = (pre: string) => preTokenizer(pre)!.config;
  const { texts, tensors } = syntheticDirectory(name, { format, seed: 1, preTokenizer: rule });
  return { ...texts, "model.safetensors": safetensorsBytes(tensors) };
}

/** Returns a runner of the model at this path, and the ids of a text. */
function opened(path: string) {
  const file = openModelFile(path);
  try {
    const { config, weights } = readModel(file);
    const ids = modelTokenizer(file).encode("no one sees the sea again");
    return { runner: loadReferenceRunner(weights, config), ids };
  } finally {
    file.close();
  }
}
