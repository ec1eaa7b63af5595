/** `tvllm synth`: models of random weights that load, run and have llama.cpp's sizes. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { openModelFile } from "../../engine/files/open_model.ts";
import { loadModel } from "../../engine/mod.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { DIRECTORY_FORMATS, syntheticDirectory } from "../../engine/synthetic/directory.ts";
import {
  SYNTHETIC_FORMATS,
  syntheticModel,
  syntheticModelNames,
} from "../../engine/synthetic/models.ts";
import { modelTokenizer } from "../../engine/text/model_tokenizer.ts";
import { preTokenizer } from "../../engine/text/pre_tokenizers.ts";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { assertAllClose, logSoftmax } from "../assert.ts";
import { baseEnv, LAUNCHER, runTvllm } from "../cli/run_tvllm.ts";
import { logitsOf } from "../reference/tiny_runner.ts";
import { ggufBytes } from "../../fixtures/tiny_models.ts";
import { safetensorsBytes } from "../../fixtures/tiny_safetensors.ts";
import { withFile, withFiles } from "../files/on_disk.ts";
import { packedBytes } from "../../kernels/tensor_types.ts";

const TINY = syntheticModelNames().filter((name) => name.startsWith("tiny-"));

/** The whole file in memory; of tiny models alone. */
function bytesOf(name: string, format: typeof SYNTHETIC_FORMATS[number], seed = 1): Uint8Array {
  const { metadata, tensors } = syntheticModel(name, format, seed);
  return ggufBytes({ metadata: new Map(metadata), tensors: [...tensors] });
}

for (const name of TINY) {
  Deno.test(`synthetic ${name} runs in every format, and knows some tokens from others`, async () => {
    for (const format of SYNTHETIC_FORMATS) {
      const { runner, ids } = withFile("m.gguf", bytesOf(name, format), opened);
      const logits = await logitsOf(runner, ids);
      for (const row of logits) {
        const probabilities = logSoftmax(row).map(Math.exp);
        const best = Math.max(...probabilities);
        assert.ok(best > 3 / probabilities.length, `${format}: all alike, best ${best}`);
        assert.ok(best < 0.9, `${format}: one token always, ${best}`);
      }
    }
  });
}

for (const name of TINY) {
  Deno.test(`synthetic ${name} in safetensors has the logits that it has in GGUF`, async () => {
    for (const format of DIRECTORY_FORMATS) {
      const rule = (pre: string) => preTokenizer(pre)!.config;
      const { texts, tensors } = syntheticDirectory(name, { format, seed: 1, preTokenizer: rule });
      const files = { ...texts, "model.safetensors": safetensorsBytes(tensors) };
      const [gguf, safetensors] = [
        withFile("m.gguf", bytesOf(name, format), opened),
        withFiles(files, opened),
      ];
      assert.deepEqual(safetensors.ids, gguf.ids);
      assertAllClose(
        (await logitsOf(safetensors.runner, gguf.ids)).at(-1)!,
        (await logitsOf(gguf.runner, gguf.ids)).at(-1)!,
        { absolute: 1e-4 },
      );
    }
  });
}

/** A model at this path: how it answers, and its tokens of a text. */
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

Deno.test("synthetic models of equal seeds are equal, of others not", () => {
  const one = bytesOf("tiny-llama", "Q4_0");
  assert.deepEqual(bytesOf("tiny-llama", "Q4_0"), one);
  assert.notDeepEqual(bytesOf("tiny-llama", "Q4_0", 2), one);
});

/** What is published of each: weights in millions, and tokens. */
const PUBLISHED = [
  ["tinyllama-1.1b", 1100, 32_000],
  ["llama-3.2-1b", 1236, 128_256],
  ["qwen2.5-0.5b", 494, 151_936],
  ["qwen2.5-1.5b", 1544, 151_936],
  ["qwen3-0.6b", 596, 151_936],
  ["qwen3-30b-a3b", 30_532, 151_936],
] as const;

for (const [name, millions, vocabulary] of PUBLISHED) {
  Deno.test(`synthetic ${name} has the published number of weights and tokens`, () => {
    for (const format of SYNTHETIC_FORMATS) {
      const { metadata, tensors } = syntheticModel(name, format, 1);
      const weights = tensors.reduce((sum, t) => sum + t.shape.reduce((a, b) => a * b, 1), 0);
      assert.equal(Math.round(weights / 1e6), millions);
      // Every row fits its type's blocks, else this throws.
      for (const { type, shape } of tensors) packedBytes(type, shape.at(-1)!);
      assert.equal((metadata.get("tokenizer.ggml.tokens")!.value as string[]).length, vocabulary);
    }
  });
}

Deno.test("synthetic tinyllama-1.1b takes the bytes that llama.cpp's Q4_0 and Q4_K_M take", () => {
  const size = (format: typeof SYNTHETIC_FORMATS[number]) =>
    syntheticModel("tinyllama-1.1b", format, 1).tensors
      .reduce((sum, t) => sum + packedBytes(t.type, t.shape.reduce((a, b) => a * b, 1)), 0);
  // The published files are 637 and 668 MB, of which the vocabulary is below 2 MB.
  assert.ok(Math.abs(size("Q4_0") - 636e6) < 2e6, String(size("Q4_0")));
  assert.ok(Math.abs(size("Q4_K_M") - 667e6) < 2e6, String(size("Q4_K_M")));
});

Deno.test("tvllm synth writes a file that generates on the default device", async () => {
  const directory = Deno.makeTempDirSync();
  try {
    const path = join(directory, "tiny.gguf");
    const made = await runTvllm(["synth", "tiny-qwen3", "--quant", "q8_0", "-o", path]);
    assert.equal(made.code, 0, made.stderr);
    assert.equal(made.stdout, `${path}\t${Deno.statSync(path).size} bytes\n`);
    assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name), ["tiny.gguf"]);
    const model = await loadModel(openModelFile(path), { contextLength: 64, maxSequences: 1 });
    const promptIds = model.tokenizer.encode("a tale");
    const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, seed: 1 };
    const request = { promptIds, sampling, maxTokens: 4, stopIds: [] };
    const [answer] = await model.engine.generate([request]);
    assert.equal(answer!.ids.length, 4);
    await model.close();
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("tvllm synth writes a directory of safetensors that generates, and touches no full one", async () => {
  const directory = Deno.makeTempDirSync();
  try {
    const path = join(directory, "tiny");
    const args = ["synth", "tiny-llama", "--format", "safetensors", "-o", path];
    const made = await runTvllm(args);
    assert.equal(made.code, 0, made.stderr);
    const answer = await runTvllm(["generate", "-m", path, "--device", "cpu", "-n", "2", "a tale"]);
    assert.equal(answer.code, 0, answer.stderr);
    const again = await runTvllm(args);
    assert.equal(again.code, 2);
    assert.match(again.stderr, /^error: Cannot write .*tiny: it is there already.*by -o/);
    assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name), ["tiny"]);
    const packed = await runTvllm([...args, "--quant", "Q8_0"]);
    assert.equal(packed.code, 2);
    assert.match(packed.stderr, /^error: Cannot write safetensors of Q8_0: .*BF16, F16, F32/);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("tvllm synth names what it knows, and leaves nothing where it cannot write", async () => {
  const unknown = await runTvllm(["synth", "gpt-9"]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /'gpt-9'.*tinyllama-1\.1b, llama-3\.2-1b/);
  const format = await runTvllm(["synth", "tiny-llama", "--quant", "Q9"]);
  assert.equal(format.code, 2);
  assert.match(format.stderr, /'Q9'.*Q4_K_M/);
  const nowhere = await runTvllm(["synth", "tiny-llama", "-o", "/nowhere/tiny.gguf"]);
  assert.equal(nowhere.code, 2);
  assert.match(nowhere.stderr, /^error: Cannot write \/nowhere\/tiny\.gguf: .*give another/);
});

Deno.test({
  name: "tvllm synth leaves nothing behind after Ctrl-C",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const directory = Deno.makeTempDirSync();
    const child = new Deno.Command("sh", {
      args: [LAUNCHER, "synth", "tinyllama-1.1b", "-o", join(directory, "model.gguf")],
      env: baseEnv(),
      stdout: "null",
      stderr: "null",
    }).spawn();
    while ([...Deno.readDirSync(directory)].length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    child.kill("SIGINT");
    assert.equal((await child.status).code, 130);
    assert.deepEqual([...Deno.readDirSync(directory)], []);
    Deno.removeSync(directory);
  },
});
