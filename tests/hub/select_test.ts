import assert from "node:assert/strict";
import { cpuSeconds } from "../time.ts";
import { RequestError } from "../../engine/errors.ts";
import { listQuants, matchingModels, modelsAmong, quantToName } from "../../engine/hub/select.ts";
import { formatHubSpec, parseHubSpec } from "../../engine/hub/spec.ts";
import { amountLine, duration, Rate, size } from "../../cli/transfer.ts";

Deno.test("parseHubSpec() and formatHubSpec() are inverse", () => {
  assert.deepEqual(parseHubSpec("hf.co/Qwen/Qwen3-0.6B:q8_0@refs/pr/1"), {
    repository: "Qwen/Qwen3-0.6B",
    quant: "q8_0",
    revision: "refs/pr/1",
  });
  for (const text of ["hf:a/b", "hf:a/b:Q4_0", "hf:a/b@main", "hf:a/b:dir/x.gguf@v1"]) {
    assert.equal(formatHubSpec(parseHubSpec(text)), text);
  }
  for (
    const text of ["hf:a", "hf:a/b:", "hf:a/b@", "hf:a--b/c", "hf:/a", "hf:a/b@/x", "hf:a/b:c\\d"]
  ) {
    assert.throws(() => parseHubSpec(text), RequestError, text);
  }
});

const meant = (paths: string[], quant?: string) =>
  matchingModels(modelsAmong(paths), quant).map(({ files }) => files);

Deno.test("matchingModels() finds a quantization whatever its case and the file's naming style", () => {
  const paths = [
    "m-q4_k_m.gguf",
    "m.Q4_K_S.gguf",
    "m-fp16.gguf",
    "BF16/m-BF16.gguf",
    "m-UD-Q2_K_XL.gguf",
  ];
  assert.deepEqual(meant(paths, "Q4_K_M"), [["m-q4_k_m.gguf"]]);
  assert.deepEqual(meant(paths, "q4_k_s"), [["m.Q4_K_S.gguf"]]);
  assert.deepEqual(meant(paths, "F16"), [["m-fp16.gguf"]]);
  assert.deepEqual(meant(paths, "bf16"), [["BF16/m-BF16.gguf"]]);
  assert.deepEqual(meant(paths, "Q2_K_XL"), [["m-UD-Q2_K_XL.gguf"]]);
  assert.deepEqual(meant(paths, "Q4_K"), []);
  assert.deepEqual(meant(paths, "m-fp16.gguf"), [["m-fp16.gguf"]]);
});

Deno.test("matchingModels() without a name: Q4_K_M, else Q8_0, else the only one", () => {
  assert.deepEqual(meant(["a-Q8_0.gguf", "a-Q4_K_M.gguf", "a-F16.gguf"]), [["a-Q4_K_M.gguf"]]);
  assert.deepEqual(meant(["a-Q8_0.gguf", "a-Q2_K.gguf"]), [["a-Q8_0.gguf"]]);
  assert.deepEqual(meant(["a.gguf", "mmproj-a-f16.gguf"]), [["a.gguf"]]);
  assert.equal(meant(["a-Q2_K.gguf", "a-Q3_K.gguf"]).length, 2);
  assert.deepEqual(meant(["README.md"]), []);
});

Deno.test("modelsAmong() detects a missing part; quantToName() is unambiguous", () => {
  const parts = ["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"];
  assert.deepEqual(modelsAmong(parts).map(({ complete }) => complete), [true]);
  assert.deepEqual(modelsAmong(parts.slice(1)).map(({ complete }) => complete), [false]);
  const two = modelsAmong(["7b-Q4_0.gguf", "13b-Q4_0.gguf", "7b-Q8_0.gguf"]);
  assert.deepEqual(two.map((m) => quantToName(m, two)), ["13b-Q4_0.gguf", "7b-Q4_0.gguf", "Q8_0"]);
});

Deno.test("modelsAmong() knows MLX's early file names, and lists the first weight file last", () => {
  const paths = ["config.json", "weights.00.safetensors", "weights.01.safetensors", "weights.npz"];
  const [model] = modelsAmong(paths);
  assert.deepEqual(model?.files, [paths[0], paths[2], paths[1]]);
  assert.equal(model?.complete, true);
  assert.equal(modelsAmong(["config.json", "weights.01.safetensors"])[0]?.complete, false);
  assert.equal(modelsAmong(["config.json", "weights.safetensors"])[0]?.complete, true);
  assert.deepEqual(meant([...paths, "model.safetensors"]), [["config.json", "model.safetensors"]]);
});

Deno.test("a transfer is shown with size, rate and time left", () => {
  assert.deepEqual([0, 999, 1234, 98.4e6, 3.1e9].map(size), [
    "0 B",
    "999 B",
    "1.23 kB",
    "98.4 MB",
    "3.10 GB",
  ]);
  assert.deepEqual([5, 185, 4800].map(duration), ["5 s", "3 min 05 s", "1 h 20 min"]);
  const rate = new Rate();
  assert.equal(rate.add(50e6, 0), undefined);
  const perSecond = rate.add(60e6, 1000);
  const line = amountLine({ done: 60e6, total: 100e6, rate: perSecond }, "byte");
  assert.equal(line, "60.0 MB of 100 MB, 10.0 MB/s, 4 s left");
  assert.equal(rate.add(0, 2000), undefined);
});

Deno.test("tokens are shown with their rate and time left, answers with the time left", () => {
  const line = (done: number, rate: number | undefined, unit: "token" | "answer") =>
    amountLine({ done, total: 3519, rate }, unit);
  assert.equal(line(512, undefined, "token"), "512 of 3,519 tokens");
  assert.equal(line(512, 9, "token"), "512 of 3,519 tokens, 9.0 tok/s, 5 min 35 s left");
  assert.equal(line(3519, 5120, "token"), "3,519 of 3,519 tokens, 5,120 tok/s");
  assert.equal(amountLine({ done: 1, total: 1, rate: undefined }, "token"), "1 of 1 token");
  assert.equal(line(3517, 0.5, "answer"), "3,517 of 3,519 answers, 4 s left");
});

Deno.test("modelsAmong() reads hostile listings in linear time", () => {
  const long = "-Q4".repeat(100_000);
  const parts = Array.from(
    { length: 99_999 },
    (_, i) => `m-${String(i + 1).padStart(5, "0")}-of-99999.gguf`,
  );
  const many = Array.from({ length: 50_000 }, (_, i) => `m-${i}.gguf`);
  const seconds = cpuSeconds(() => {
    assert.deepEqual(modelsAmong([`${long}.gguf`, `${"/".repeat(300_000)}Q4.gguf`]), []);
    const [whole] = modelsAmong(parts);
    assert.deepEqual([whole!.files.length, whole!.complete], [99_999, true]);
    const models = modelsAmong(many);
    assert.match(listQuants(models, models), /^'m-0\.gguf', .*, and 49992 more$/);
  });
  assert.ok(seconds < 3, `${seconds} s of CPU time`);
});
