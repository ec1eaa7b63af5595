import assert from "node:assert/strict";
import { openGguf } from "../../engine/files/gguf.ts";
import { loadTokenizer } from "../../engine/text/tokenizer.ts";
import { writeTinyModel } from "../../fixtures/tiny_models.ts";
import { runTvllm } from "./run_tvllm.ts";

const TEXT = "the hen and the other hen, né\n";

Deno.test("tvllm perplexity --json scores every token of the text, the same on GPU and CPU", async () => {
  const model = writeTinyModel(Deno.makeTempDirSync(), "llama", "F32");
  const path = `${Deno.makeTempDirSync()}/text.txt`;
  await Deno.writeTextFile(path, TEXT);
  const file = openGguf(model);
  const ids = loadTokenizer(file.metadata, model).encode(TEXT);
  file.close();
  const results = [];
  for (const device of ["gpu", "cpu"]) {
    const args = ["perplexity", "-m", model, "-f", path, "--json", "--top-logprobs", "4"];
    const { code, stdout, stderr } = await runTvllm([...args, "--device", device]);
    assert.equal(code, 0, stderr);
    results.push(JSON.parse(stdout));
  }
  const [gpu, cpu] = results;
  for (const result of results) {
    assert.deepEqual(result.tokens, ids);
    assert.equal(result.positions.length, ids.length);
    const scored = result.positions.slice(0, -1);
    const mean = scored.reduce((sum: number, p: { next_logprob: number }) =>
      sum - p.next_logprob, 0) / scored.length;
    assert.ok(Math.abs(Math.exp(mean) / result.perplexity - 1) < 1e-6);
    // The standard error, by the delta method.
    const squares = scored.reduce((sum: number, p: { next_logprob: number }) =>
      sum + (p.next_logprob + mean) ** 2, 0);
    const standard = Math.sqrt(squares / (scored.length - 1) / scored.length);
    assert.ok(Math.abs(Math.exp(mean) * standard / result.error - 1) < 1e-6);
    assert.equal(result.positions.at(-1).next_logprob, null);
    for (const { top } of result.positions) {
      assert.equal(top.length, 4);
      assert.ok(top[0][1] >= top[3][1]);
    }
  }
  assert.ok(Math.abs(gpu.perplexity / cpu.perplexity - 1) < 1e-4);
});

Deno.test("tvllm perplexity reads standard input, in windows of the context", async () => {
  const model = writeTinyModel(Deno.makeTempDirSync(), "llama", "Q4_0");
  const text = TEXT.repeat(8);
  const whole = await runTvllm(["perplexity", "-m", model], { stdin: text });
  assert.match(
    whole.stdout,
    /^perplexity [\d.]+ ± [\d.]+ over \d+ tokens, each given all before it\n$/,
  );
  const windows = await runTvllm(["perplexity", "-m", model, "-c", "32"], { stdin: text });
  assert.equal(windows.code, 0, windows.stderr);
  assert.notEqual(windows.stdout, whole.stdout);
  // At 256 bytes per token, 16K have room for 64 tokens, which are four blocks.
  for (const device of ["gpu", "cpu"]) {
    const args = ["perplexity", "-m", model, "--device", device];
    const few = await runTvllm([...args, "--kv-memory", "16K"], { stdin: text });
    assert.equal(few.code, 0, few.stderr);
    assert.match(few.stderr, /room for 64 tokens: the text is scored in windows of that length/);
    const same = await runTvllm([...args, "-c", "64"], { stdin: text });
    assert.equal(few.stdout, same.stdout);
    assert.doesNotMatch(same.stderr, /windows/);
  }
  const halves = await runTvllm(["perplexity", "-m", model, "--llama", "--window", "32"], {
    stdin: text,
  });
  assert.equal(halves.code, 0, halves.stderr);
  const said =
    /^perplexity ([\d.]+) ± [\d.]+ over (\d+) tokens, as llama-perplexity: second halves of (\d+) windows of 32\n$/;
  const [, , tokens, count] = said.exec(halves.stdout)!;
  // The first half and the first token after it do not count.
  assert.equal(Number(tokens), 15 * Number(count));
  // A single scored token has no standard error. With 4 tokens a window, one counts.
  const four = ["perplexity", "-m", model, "--llama", "--window", "4"];
  const short = "the hen a";
  const [one, half, json] = await Promise.all([
    runTvllm(["perplexity", "-m", model], { stdin: "the" }),
    runTvllm(four, { stdin: short }),
    runTvllm([...four, "--json"], { stdin: short }),
  ]);
  assert.match(one!.stdout, /^perplexity [\d.]+ over 1 token, each/);
  assert.match(half!.stdout, /^perplexity [\d.]+ over 1 token, as llama-perplexity/);
  assert.deepEqual(
    Object.keys(JSON.parse(json!.stdout)),
    ["model", "method", "perplexity", "tokens", "windows", "window", "device"],
  );
  const nothing = await runTvllm(["perplexity", "-m", model], { stdin: "" });
  assert.equal(nothing.code, 2);
  assert.match(nothing.stderr, /Cannot compute perplexity: the text has fewer than two tokens/);
});
