import assert from "node:assert/strict";
import { join } from "node:path";
import { tinySafetensors } from "../../fixtures/tiny_safetensors.ts";
import { REAL_MODEL, realModelMissing } from "../files/on_disk.ts";
import { baseEnv, LAUNCHER, pipeTvllm, ROOT, runTvllm } from "./run_tvllm.ts";

const STORY = ["generate", "Once upon a time", "-n", "24", "--seed", "7"];
/** No Vulkan driver at all, and no fallback to OpenGL. */
const NO_ADAPTER = {
  VK_DRIVER_FILES: "/none",
  VK_ICD_FILENAMES: "/none",
  DENO_WEBGPU_BACKEND: "vulkan",
};

Deno.test("tvllm generate continues a prompt, the same for a seed, with nothing else on stdout", async () => {
  const first = await runTvllm(STORY);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stderr, /built-in story model/);
  assert.ok(first.stdout.split(/\s+/).length > 8, first.stdout);
  assert.ok(first.stdout.endsWith("\n"));
  assert.equal((await runTvllm(STORY)).stdout, first.stdout);
  const other = await runTvllm([...STORY.slice(0, -1), "8", "-q"]);
  assert.notEqual(other.stdout, first.stdout);
  assert.equal(other.stderr, "");
});

Deno.test("tvllm generate on the CPU writes the same greedy text as on the GPU", async () => {
  const greedy = ["generate", "There was once a king", "-n", "32", "--temp", "0", "-q"];
  const gpu = await runTvllm([...greedy, "--device", "gpu"]);
  const cpu = await runTvllm([...greedy, "--device", "cpu"]);
  assert.equal(gpu.code, 0, gpu.stderr);
  assert.equal(cpu.stdout, gpu.stdout);
});

Deno.test("tvllm generate --json and --jsonl contain tokens, finish, seed, timings and logprobs", async () => {
  const json = await runTvllm([...STORY, "--json", "--logprobs", "3"]);
  const whole = JSON.parse(json.stdout);
  assert.equal(whole.tokens.length, 24);
  assert.equal(whole.generated_tokens, 24);
  assert.equal(whole.finish, "length");
  assert.equal(whole.seed, 7);
  assert.ok(whole.ttft_ms > 0 && whole.total_ms > whole.ttft_ms);
  assert.equal(whole.logprobs.length, 24);
  for (const [i, { id, token, logprob, top }] of whole.logprobs.entries()) {
    assert.equal(id, whole.tokens[i]);
    assert.equal(typeof token, "string");
    assert.equal(top.length, 3);
    const best = top.find((other: { id: number }) => other.id === id);
    if (best !== undefined) assert.equal(best.token, token);
    assert.ok(top[0].logprob >= logprob && logprob <= 0);
  }
  const pieces = whole.logprobs.map(({ token }: { token: string }) => token).join("");
  assert.equal(pieces.replaceAll("\\n", "\n"), whole.text);
  const lines = (await runTvllm([...STORY, "--jsonl"])).stdout.trimEnd().split("\n")
    .map((line) => JSON.parse(line));
  assert.equal(lines.at(-1).generated_tokens, 24);
  assert.deepEqual(lines.slice(0, -1).flatMap(({ id }) => id ?? []), whole.tokens);
  assert.equal(lines.slice(0, -1).map(({ text }) => text).join(""), whole.text);
});

Deno.test("tvllm generate --stop ends before the stop text, even if tokens split it", async () => {
  const free = (await runTvllm([...STORY, "-q"])).stdout;
  const stop = free.slice(9, 14);
  const cut = await runTvllm([...STORY, "-q", "--stop", stop]);
  assert.equal(cut.stdout.trimEnd(), free.slice(0, free.indexOf(stop)).trimEnd());
});

Deno.test("tvllm generate answers many prompts, each as if it was alone", async () => {
  const prompts = ["Once upon a time", "The king said", "In a wood"];
  const options = ["-n", "12", "--temp", "0", "-q"];
  const many = await runTvllm(
    ["generate", "--prompts", "-", "--json", "--concurrency", "2", ...options],
    { stdin: `\ufeff${prompts.join("\n\n")}` }, // with a byte order mark, as in Windows
  );
  const answers = JSON.parse(many.stdout);
  assert.deepEqual(answers.map(({ index }: { index: number }) => index), [0, 1, 2]);
  for (const [i, prompt] of prompts.entries()) {
    const alone = JSON.parse((await runTvllm(["generate", prompt, "--json", ...options])).stdout);
    assert.deepEqual(answers[i].tokens, alone.tokens);
  }
});

Deno.test("tvllm generate --prompts keeps ids and fields, and shows each prompt above its answer", async () => {
  const stdin =
    '{"id":"a7","prompt":"Once upon a time","topic":{"x":1}}\n{"prompt":"The king\\nsaid"}\n';
  const options = ["--prompts", "-", "-n", "4", "--temp", "0"];
  const lines = (await runTvllm(["generate", ...options, "--jsonl"], { stdin })).stdout;
  const answers = lines.trimEnd().split("\n").map((line) => JSON.parse(line))
    .sort((a, b) => a.index - b.index);
  assert.deepEqual(answers.map(({ id, topic, prompt }) => ({ id, topic, prompt })), [
    { id: "a7", topic: { x: 1 }, prompt: "Once upon a time" },
    { id: undefined, topic: undefined, prompt: "The king\nsaid" },
  ]);
  const { stdout, stderr } = await runTvllm(["generate", ...options], { stdin });
  const [first, second] = answers.map(({ text }) => text.trimEnd());
  assert.equal(stdout, `## a7: Once upon a time\n${first}\n\n## 2: The king said\n${second}\n`);
  assert.match(stderr, /^2 answers, 8 tokens in \d+ ms \([\d.,]+ tok\/s\)$/m);
});

Deno.test("tvllm generate runs a directory of safetensors", async () => {
  const directory = Deno.makeTempDirSync();
  for (const [name, content] of Object.entries(tinySafetensors("llama", "BF16", 3))) {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    Deno.writeFileSync(join(directory, name), bytes);
  }
  const { code, stdout, stderr } = await runTvllm(
    ["generate", "-m", directory, "--raw", "hen", "-n", "4", "--temp", "0", "--json"],
  );
  assert.equal(code, 0, stderr);
  assert.equal(JSON.parse(stdout).generated_tokens, 4);
});

Deno.test("tvllm generate stays within --kv-memory: long answers end early, and long prompts are refused", async () => {
  const few = ["--kv-memory", "60K", "-q"];
  const answer = await runTvllm(["generate", "Once", "-n", "8", ...few]);
  assert.equal(answer.code, 0, answer.stderr);
  assert.equal(answer.stderr, "");
  const cut = await runTvllm(["generate", "Once", "-n", "500", "--json", ...few]);
  assert.equal(cut.code, 0, cut.stderr);
  const said =
    /^warning: the answer was cut off: the KV cache of (\d+) tokens is full; raise --kv-memory\n$/;
  const room = Number(said.exec(cut.stderr)?.[1]);
  const { finish, prompt_tokens, generated_tokens } = JSON.parse(cut.stdout);
  // The last token never enters the cache.
  assert.deepEqual([finish, prompt_tokens + generated_tokens], ["length", room + 1]);
  const long = await runTvllm(["generate", "Once ".repeat(200), ...few]);
  assert.equal(long.code, 2);
  assert.match(
    long.stderr,
    /^error: Cannot answer a prompt of \d+ tokens: the KV cache has room for \d+; shorten it, or give .*--kv-memory\)\n$/,
  );
});

Deno.test("tvllm generate without an adapter runs on the CPU, and --device gpu exits with 5", async () => {
  const answer = await runTvllm(STORY, { env: NO_ADAPTER });
  assert.equal(answer.code, 0, answer.stderr);
  assert.match(answer.stderr, /Running on the CPU \(.*\): Cannot find a GPU adapter: install/);
  assert.match(answer.stderr, /\nStopped after 24 tokens; raise -n for longer answers\n$/);
  assert.equal(answer.stderr.trimEnd().split("\n").length, 3);
  const refused = await runTvllm([...STORY, "--device", "gpu"], { env: NO_ADAPTER });
  assert.equal(refused.code, 5);
  assert.match(refused.stderr, /error: Cannot find a GPU adapter: install/);
});

Deno.test("tvllm generate warns that the context cut off its answer", async () => {
  const cut = await runTvllm(["generate", "Once", "-n", "12", "-c", "8", "-q"]);
  assert.equal(cut.code, 0, cut.stderr);
  assert.match(
    cut.stderr,
    /^warning: the answer was cut off: the context of 8 tokens is full; raise --ctx-size, at most 2048\n$/,
  );
  assert.equal((await runTvllm(["generate", "Once", "-n", "3", "-c", "8", "-q"])).stderr, "");
});

const USAGE: readonly [string, string[], RegExp][] = [
  ["--json together with --jsonl", ["hi", "--json", "--jsonl"], /drop --json or --jsonl/],
  [
    "a prompt that fills the context",
    ["Once", "-c", "3"],
    /a prompt of 3 tokens: the context has room for 3, at least one of them for the answer; shorten/,
  ],
  ["a context beyond the model's", ["hi", "-c", "9999"], /Cannot use a context of 9999 tokens/],
  ["log-probabilities as text", ["hi", "--logprobs", "2"], /add --json or --jsonl/],
  [
    "a system message without a template",
    ["hi", "--raw", "-s", "x"],
    /Cannot use a system message with a raw prompt/,
  ],
  ["two kinds of prompts", ["hi", "--prompts", "-"], /Cannot use --prompts with another/],
  ["a missing prompt", [], /Cannot generate without a prompt/],
];
for (const [what, args, message] of USAGE) {
  Deno.test(`tvllm generate refuses ${what} with exit code 2 and one line`, async () => {
    const { code, stdout, stderr } = await runTvllm(["generate", ...args, "-q"]);
    assert.equal(code, 2);
    assert.equal(stdout, "");
    assert.match(stderr, message);
    assert.equal(stderr.trimEnd().split("\n").length, 1);
  });
}

Deno.test("tvllm generate ends quietly when its reader closes the pipe", async () => {
  const { code, stdout, stderr } = await pipeTvllm(
    ["generate", "Once upon a time", "-n", "400", "-q"],
    "head -c 20",
  );
  assert.equal(stdout.length, 20);
  assert.equal(stderr, "");
  assert.equal(code, 0);
});

Deno.test({
  name: "tvllm generate: Ctrl-C ends the answer, keeps the text so far, and exits with 130",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const child = new Deno.Command("sh", {
      args: ["-c", 'exec sh "$0" generate --device gpu "Once upon a time" -n 2000 -v', LAUNCHER],
      clearEnv: true,
      env: baseEnv(),
      cwd: ROOT,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    let text = "";
    let stopped = false;
    const stderr = new Response(child.stderr).text();
    for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (!stopped && text.length > 40) {
        stopped = true;
        child.kill("SIGINT");
      }
    }
    const { code } = await child.status;
    assert.equal(code, 130, await stderr);
    const [, tokens] = /^Read a prompt of \d+ tokens in .*, wrote (\d+) tokens in /m.exec(
      await stderr,
    )!;
    assert.ok(Number(tokens) < 1000, `${tokens} of 2000 tokens`);
  },
});

Deno.test({
  name: "tvllm generate: Ctrl-C ends it while it reads a long prompt",
  ignore: Deno.build.os === "windows" || realModelMissing(),
  fn: async () => {
    const prompt = Deno.makeTempFileSync();
    Deno.writeTextFileSync(prompt, "The king said to the queen. ".repeat(500));
    const child = new Deno.Command("sh", {
      args: ["-c", 'exec sh "$0" generate -m "$1" -f "$2" -n 1 -v', LAUNCHER, REAL_MODEL, prompt],
      clearEnv: true,
      env: baseEnv(),
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    let log = "";
    let sent = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      log += text;
      if (timer !== undefined || !log.includes("Loaded in")) continue;
      // While it reads the prompt: at the second step, Deno was once too busy for signals.
      timer = setTimeout(() => {
        try {
          child.kill("SIGINT");
          sent = true;
        } catch {
          // The process has just ended.
        }
      }, 2500);
    }
    clearTimeout(timer);
    if (!sent) return console.error("the device processes the prompt too fast to interrupt it");
    assert.equal((await child.status).code, 130, log);
    assert.match(log, /^Stopped while reading a prompt of 3,\d\d\d tokens, on /m);
  },
});
