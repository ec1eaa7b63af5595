import assert from "node:assert/strict";
import { join } from "node:path";
import { openModelFile } from "../../engine/files/open_model.ts";
import { loadModel } from "../../engine/mod.ts";
import { baseEnv, LAUNCHER, runTvllm, until } from "./run_tvllm.ts";

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

Deno.test("tvllm synth writes a directory of safetensors that generates, and overwrites none", async () => {
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
    assert.match(
      again.stderr,
      /^error: Cannot write .*tiny: the directory exists and is not empty.*with -o/,
    );
    assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name), ["tiny"]);
    const packed = await runTvllm([...args, "--quant", "Q8_0"]);
    assert.equal(packed.code, 2);
    assert.match(packed.stderr, /^error: Cannot write safetensors in Q8_0: .*BF16, F16, F32/);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("tvllm synth names the known models and formats, and reports that it cannot write", async () => {
  const unknown = await runTvllm(["synth", "gpt-9"]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /'gpt-9'.*tinyllama-1\.1b, llama-3\.2-1b/);
  const format = await runTvllm(["synth", "tiny-llama", "--quant", "Q9"]);
  assert.equal(format.code, 2);
  assert.match(format.stderr, /'Q9'.*Q4_K_M/);
  const nowhere = await runTvllm(["synth", "tiny-llama", "-o", "/nowhere/tiny.gguf"]);
  assert.equal(nowhere.code, 2);
  assert.match(nowhere.stderr, /^error: Cannot write \/nowhere\/tiny\.gguf: .*choose another/);
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
    await until(
      () => [...Deno.readDirSync(directory)][0],
      () => "tvllm synth began no file",
    );
    child.kill("SIGINT");
    assert.equal((await child.status).code, 130);
    assert.deepEqual([...Deno.readDirSync(directory)], []);
    Deno.removeSync(directory);
  },
});
