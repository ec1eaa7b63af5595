/**
 * Runs real clients against a running server: the openai packages from npm and PyPI, and aiperf.
 * The PyPI packages are installed once into .cache/clients. Run by `deno task test:clients`, not by
 * ./tests/run.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import { byteCharacters } from "../../engine/files/byte_characters.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const VENV = join(ROOT, ".cache/clients");
const PYTHON = join(VENV, "bin/python");
const PACKAGES = ["openai==3.57.0", "aiperf==0.13.0"];
const KEY = "test-key";

/** Starts the server. Returns its address; disposing of the result ends the server. */
async function serve(): Promise<{ address: string } & AsyncDisposable> {
  const child = new Deno.Command("sh", {
    args: [
      join(ROOT, "tvllm"),
      ...["serve", "--port", "0", "--device", "cpu", "--api-key", KEY, "--queue", "256"],
    ],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const reading = (async () => {
    let text = "";
    for await (const piece of child.stderr.pipeThrough(new TextDecoderStream())) {
      text += piece;
      const address = /Listening on (\S+)\/;/.exec(text)?.[1];
      if (address) resolve(address);
    }
    reject(new Error(`The server ended: ${text}`));
  })();
  const end = async () => {
    child.kill("SIGTERM");
    await child.status;
    await reading;
  };
  return { address: await promise, [Symbol.asyncDispose]: end };
}

async function run(program: string, args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder().decode(stdout);
  if (!success) {
    throw new Error(`${program} ${args[0]}: ${new TextDecoder().decode(stderr)}${text}`);
  }
  return text;
}

/** Checks answers, streams, errors and an abandoned request with the npm package. */
async function openaiOfNpm(address: string): Promise<string> {
  const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: KEY, maxRetries: 0 });
  const models = await client.models.list();
  const model = models.data[0]!.id;
  const messages = [{ role: "user" as const, content: "Once upon a time" }];
  const whole = await client.chat.completions.create({
    ...{ model, messages, temperature: 0, max_tokens: 16, logprobs: true, top_logprobs: 2 },
  });
  const stream = await client.chat.completions.create({
    ...{ model, messages, temperature: 0, max_tokens: 16, stream: true },
    stream_options: { include_usage: true },
  });
  let text = "";
  let tokens = 0;
  for await (const { choices: [choice], usage } of stream) {
    text += choice?.delta.content ?? "";
    tokens = usage?.completion_tokens ?? tokens;
  }
  assert.equal(text, whole.choices[0]!.message.content);
  assert.equal(tokens, 16);
  assert.equal(whole.choices[0]!.logprobs!.content!.length, 16);
  const completion = await client.completions.create({ model, prompt: "Once", max_tokens: 4 });
  assert.equal(completion.usage!.completion_tokens, 4);
  await assert.rejects(
    client.chat.completions.create({ model, messages, n: 2 }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "n",
  );
  await assert.rejects(
    client.chat.completions.create({ model: "other", messages }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
  );
  await assert.rejects(
    new OpenAI({ baseURL: `${address}/v1`, apiKey: "wrong", maxRetries: 0 }).models.list(),
    OpenAI.AuthenticationError,
  );
  const given = await client.chat.completions.create({ model, messages, stream: true });
  for await (const _ of given) break;
  return "9 requests as expected";
}

const PYTHON_PROGRAM = `
import sys
from openai import OpenAI, BadRequestError
client = OpenAI(base_url=sys.argv[1] + "/v1", api_key=sys.argv[2], max_retries=0)
model = client.models.list().data[0].id
messages = [{"role": "user", "content": "Once upon a time"}]
whole = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=16)
parts = client.chat.completions.create(
    model=model, messages=messages, temperature=0, max_tokens=16, stream=True)
text = "".join(part.choices[0].delta.content or "" for part in parts)
assert text == whole.choices[0].message.content, text
completion = client.completions.create(model=model, prompt=["Once", "Twice"], max_tokens=4, logprobs=1)
assert len(completion.choices) == 2 and completion.usage.completion_tokens == 8
try:
    client.chat.completions.create(model=model, messages=messages, tools=[{"type": "function", "function": {"name": "f"}}])
    raise SystemExit("tools were not refused")
except BadRequestError as error:
    assert error.param == "tools", error
print("5 requests as expected")
`;

async function openaiOfPyPI(address: string): Promise<string> {
  return (await run(PYTHON, ["-c", PYTHON_PROGRAM, address, KEY])).trim();
}

/** Writes a tokenizer whose tokens are bytes, because aiperf would download its own. */
async function writeTokenizer(directory: string): Promise<string> {
  const path = join(directory, "tokenizer");
  await Deno.mkdir(path);
  const vocab = Object.fromEntries(byteCharacters().map((character, id) => [character, id]));
  const rules = {
    type: "ByteLevel",
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: false,
  };
  const files = {
    "tokenizer.json": {
      version: "1.0",
      added_tokens: [],
      pre_tokenizer: rules,
      decoder: rules,
      model: { type: "BPE", vocab, merges: [] },
    },
    "tokenizer_config.json": { tokenizer_class: "PreTrainedTokenizerFast" },
  };
  for (const [name, content] of Object.entries(files)) {
    await Deno.writeTextFile(join(path, name), JSON.stringify(content));
  }
  return path;
}

/** Runs NVIDIA's load generator, with the token counts that the server reports. */
async function aiperf(address: string): Promise<string> {
  const directory = await Deno.makeTempDir();
  try {
    const tokenizer = await writeTokenizer(directory);
    await run(join(VENV, "bin/aiperf"), [
      ...["profile", "--model", "builtin", "--url", address, "--api-key", KEY],
      ...["--endpoint-type", "chat", "--streaming", "--tokenizer", tokenizer],
      ...["--use-server-token-count", "--concurrency", "8", "--request-count", "40"],
      ...["--isl", "64", "--osl", "16", "--ui", "none", "--artifact-dir", directory],
    ]);
    const name = "profile_export_aiperf.json";
    const report = JSON.parse(await Deno.readTextFile(join(directory, name)));
    assert.equal(report.request_count.avg, 40);
    assert.equal(report.error_request_count?.avg ?? 0, 0);
    return `40 requests, TTFT ${report.time_to_first_token.avg.toFixed(0)} ms on average`;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function install(): Promise<void> {
  try {
    await Deno.stat(join(VENV, "bin/aiperf"));
  } catch {
    await run("python3", ["-m", "venv", VENV]);
    await run(PYTHON, ["-m", "pip", "install", "--quiet", ...PACKAGES]);
  }
}

await install();
await using server = await serve();
const clients = { "openai (npm)": openaiOfNpm, "openai (PyPI)": openaiOfPyPI, aiperf };
for (const [name, check] of Object.entries(clients)) {
  console.log(`${name}: ${await check(server.address)}`);
}
