/** Wrong usages get one line of error, the right exit code, and a suggestion. */

import assert from "node:assert/strict";
import { runTvllm } from "./run_tvllm.ts";

/** Exit code, arguments, and what the message suggests, if anything. */
const WRONG: readonly (readonly [code: number, args: string, meant?: string])[] = [
  [2, "genrate hi", "generate"],
  [2, "Generate hi", "generate"],
  [2, "chat", "generate"],
  [2, "run hi", "generate"],
  [2, "ls", "list"],
  [2, "remove hf:a/b", "rm"],
  [2, "benchmark latency", "bench"],
  [2, "inspekt", "inspect"],
  [2, "frobnicate"],
  [2, "--colour never list", "--color"],
  [2, "--color red list"],
  [2, "--vesion", "--version"],
  [2, "bench"],
  [2, "bench latncy", "latency"],
  [2, "bench prefixcache", "prefix-cache"],
  [2, "bench latency --repetition 3", "--repetitions"],
  [2, "bench latency --repetitions three"],
  [2, "bench latency -n 1"],
  [2, "bench latency --concurrency 0"],
  [2, "bench latency --sampling temp=x"],
  [2, "bench latency a.gguf -m b.gguf"],
  [2, "bench latency --only q4"],
  [2, "bench latency --baseline cpu"],
  [2, "bench latency --chart a.gif"],
  [2, "bench latency --json fixtures/builtin.gguf"],
  [2, "bench latency --output /no/such/directory/x.md"],
  [2, "bench latency --output /proc/x"],
  [2, "bench latency --prompts-file /no/such"],
  [2, "bench latency -p 4000"],
  [2, "generate hi --temprature 1", "--temp"],
  [2, "generate hi --temperature 1", "--temp"],
  [2, "generate hi --max_tokens 3", "--max-tokens"],
  [2, "generate hi --n-predict 3", "--max-tokens"],
  [2, "generate hi --ngl 99", "--device"],
  [2, "generate hi --temp hot"],
  [2, "generate hi --temp -1"],
  [2, "generate hi --top-k 1.5"],
  [2, "generate hi --seed -1"],
  [2, "generate hi -n 0"],
  [2, "generate hi -n"],
  [2, "generate hi --stop"],
  [2, "generate hi --logit-bias 4"],
  [2, "generate hi --device gqu", "gpu"],
  [2, "generate hi --device gpu --threads 2"],
  [2, "generate hi --device cpu --backend vulkan"],
  [2, "generate hi -c 999999"],
  [2, "generate hi --kv-memory lots"],
  [2, "generate hi --kv-type f8"],
  [2, "generate hi there"],
  [2, "generate hi -p there"],
  [2, "generate hi -f /no/such/file"],
  [2, "generate hi --concurrency 2"],
  [2, "generate hi --logprobs 3"],
  [2, "generate hi --json --jsonl"],
  [2, "generate hi --jsonl --no-thinking"],
  [2, "generate hi --chat-template chatlm"],
  [2, "generate hi --chat-template-file /no/such"],
  [2, "generate hi --raw -s system"],
  [2, "generate hi -m a.gguf -m b.gguf"],
  [3, "generate hi -m no/such", "hf:no/such"],
  [3, "generate hi -m https://huggingface.co/a/b", "hf:a/b"],
  [3, "generate hi -m fixtures/bultin.gguf", "fixtures/builtin.gguf"],
  [4, "generate hi -m fixtures"],
  [4, "generate hi -m README.md"],
  [2, "generate hi -m hf:a"],
  [2, "generate hi -m synth:tiny-lama", "synth:tiny-llama"],
  [2, "generate hi -m synth:tiny-llama:q9"],
  [2, "generate"],
  [2, "tokenize hi --jsn", "--json"],
  [2, "inspect a b"],
  [3, "inspect /no/such.gguf"],
  [2, "perplexity -f /no/such"],
  [2, "perplexity -f README.md --top-logprobs 1"],
  [2, "synth"],
  [2, "synth tiny-lama", "tiny-llama"],
  [2, "synth tiny-llama --quant q9_9"],
  [2, "synth tiny-llama --format ggml"],
  [2, "synth tiny-llama --format safetensors --quant Q4_0"],
  [2, "synth tiny-llama -o /proc/x"],
  [2, "synth tiny-llama -o fixtures"],
  [2, "pull"],
  [2, "pull a/b", "hf:a/b"],
  [2, "pull modle"],
  [3, "pull hf:a/b --offline"],
  [2, "rm a/b", "hf:a/b"],
  [3, "rm hf:a/b"],
  [2, "rm synth:nosuch"],
  [3, "rm synth:tiny-llama"],
  [2, "help smapling", "sampling"],
  [2, "help nonsense"],
  [2, "completions"],
  [2, "completions bsh", "bash"],
  [2, "devices --chek", "--check"],
  [2, "list extra"],
  [2, "generate --prompts /no/such"],
  [2, "perplexity --stride 3"],
];

Deno.test("wrong usages end with one line that says what is wrong and what was meant", async (t) => {
  const env = { TVLLM_CACHE: Deno.makeTempDirSync() };
  const messages: string[] = [];
  for (const [expected, args, meant] of WRONG) {
    const { code, stdout, stderr } = await runTvllm(["-q", ...args.split(" ")], { env });
    assert.equal(code, expected, `${args}: ${stderr}`);
    assert.equal(stdout, "", args);
    assert.match(stderr, /^error: Cannot [^\n]+\n$/, args);
    if (meant !== undefined) assert.match(stderr, new RegExp(`[Dd]id you mean ${meant}\\?`), args);
    else assert.doesNotMatch(stderr, /did you mean/i, args);
    messages.push(`tvllm ${args}\n  ${code} ${stderr}`);
  }
  await t.assertSnapshot(messages.join("").replaceAll(env.TVLLM_CACHE, "CACHE"));
});

Deno.test("-m '' is refused as a missing name", async () => {
  const { code, stderr } = await runTvllm(["generate", "hi", "-q", "-m", ""]);
  assert.equal(code, 2);
  assert.match(stderr, /^error: Cannot open a model without a name: .*\n$/);
});

Deno.test("two options cannot write to the same file", async () => {
  const file = await Deno.makeTempFile();
  const args = ["bench", "latency", "-q", "--json", file, "--output", file];
  const { code, stderr } = await runTvllm(args);
  assert.equal(code, 2);
  assert.match(stderr, /^error: Cannot write .*: --json writes it; --output needs another file\n$/);
});
