/** load() with paths, directories and the hub; its progress, and what it refuses. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { tinySafetensors } from "../../fixtures/tiny_safetensors.ts";
import { load, type LoadOptions, type LoadProgress, ModelNotFoundError } from "../../mod.ts";
import { BadHub } from "../hub/bad_hub.ts";

const MODEL = fileURLToPath(new URL("../../fixtures/builtin.gguf", import.meta.url));
const BYTES = Deno.readFileSync(MODEL);

Deno.test("load() accepts a file, a file URL and a directory of safetensors", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "tvllm-load-" });
  for (const [name, content] of Object.entries(tinySafetensors("llama", "BF16"))) {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    Deno.writeFileSync(join(directory, name), bytes);
  }
  for (
    const [model, format] of [
      [MODEL, "gguf"],
      [new URL(`file://${MODEL}`), "gguf"],
      [directory, "safetensors"],
    ] as const
  ) {
    await using loaded = await load(model, { device: "cpu", contextLength: 64 });
    assert.equal(loaded.file.format, format);
    assert.equal((await loaded.complete("a", { maxTokens: 2 })).ids.length, 2);
  }
});

Deno.test("load() downloads a model of the hub once, with progress, and then needs no network", async () => {
  await using hub = new BadHub({ "story-Q8_0.gguf": BYTES });
  const cache = Deno.makeTempDirSync({ prefix: "tvllm-cache-" });
  const seen: LoadProgress[] = [];
  const options: LoadOptions = {
    ...{ device: "cpu", contextLength: 64, cache, endpoint: hub.endpoint, token: "secret" },
    progress: (progress) => seen.push(progress),
  };
  const offline = { ...options, offline: true };
  await assert.rejects(load("hf:org/repo", offline), (error) => {
    assert.ok(error instanceof ModelNotFoundError);
    assert.match(
      error.message,
      /^Cannot find hf:org\/repo in the cache .*: run it again without --offline/,
    );
    return true;
  });
  assert.equal(hub.seen.length, 0);
  {
    await using model = await load("hf:org/repo:q8_0", options);
    assert.ok(model.file.paths[0]!.startsWith(cache));
  }
  assert.equal(hub.seen[0]!.token, "Bearer secret");
  const downloads = seen.filter(({ stage }) => stage === "download");
  const { length } = BYTES;
  assert.deepEqual(downloads.at(-1), { stage: "download", bytes: length, total: length });
  assert.ok(downloads.every(({ total }) => total === length));
  const requests = hub.seen.length;
  for (const again of [options, offline]) await (await load("hf:org/repo", again)).close();
  assert.equal(hub.seen.length, requests);
});

Deno.test("load() ends a download when its signal is aborted", async () => {
  await using hub = new BadHub({ "story-Q8_0.gguf": BYTES });
  const controller = new AbortController();
  const reason = new Error("enough");
  hub.fault = () => {
    controller.abort(reason);
    return undefined;
  };
  const cache = Deno.makeTempDirSync({ prefix: "tvllm-cache-" });
  const options = { cache, endpoint: hub.endpoint, signal: controller.signal };
  await assert.rejects(load("hf:org/repo", options), reason);
});

Deno.test("load() refuses wrong arguments, and leaves no file open", async () => {
  const cache = Deno.makeTempDirSync();
  const refused: [string, LoadOptions, string, RegExp][] = [
    [MODEL, { contextLength: 9999 }, "RequestError", /Cannot use a context of 9999 tokens/],
    [MODEL, { kvMemory: 1 }, "RequestError", /Cannot fit a KV cache into 1 byte/],
    [MODEL, { kvTokens: 2 ** 50 }, "RequestError", /kvTokens is 1125899906842624; the maximum/],
    [
      MODEL,
      { maxSequences: 1e9 },
      "RequestError",
      /maxSequences is 1000000000; the maximum is 1024/,
    ],
    [MODEL, { kvMemory: NaN }, "RequestError", /Cannot fit a KV cache into NaN bytes/],
    [MODEL, { threads: 0 }, "RequestError", /threads is 0, not a whole number of at least 1/],
    [MODEL, { kvTokens: 2 ** 30 }, "DeviceError", /Cannot allocate \d+ bytes of memory for/],
    [MODEL, { signal: "x" as unknown as AbortSignal }, "RequestError", /signal is not an Abort/],
    [
      MODEL,
      { kv: "q8_0" } as unknown as LoadOptions,
      "RequestError",
      /'q8_0', not one of f16, f32/,
    ],
    [
      MODEL,
      { device: "CPU" } as unknown as LoadOptions,
      "RequestError",
      /device is 'CPU', not one of auto, gpu, cpu/,
    ],
    ["hf:nothing", {}, "RequestError", /expected hf:ORG\/REPO/],
    [
      "hf:a/b",
      { cache, endpoint: "ftp://x" },
      "RequestError",
      /'ftp:\/\/x': it is not an http or https/,
    ],
    ["/no/such.gguf", {}, "ModelNotFoundError", /Cannot open \/no\/such\.gguf/],
    [import.meta.filename!, {}, "ModelFormatError", /instead of 'GGUF'/],
  ];
  for (const [model, options, name, message] of refused) {
    await assert.rejects(load(model, { device: "cpu", ...options }), { name, message });
  }
});

Deno.test("the default context grows to the expected length, up to the model's limit", async () => {
  const path = join(Deno.makeTempDirSync(), "long.gguf");
  const bytes = Deno.readFileSync(MODEL);
  const key = new TextEncoder().encode("llama.context_length");
  const at = bytes.findIndex((_, i) => key.every((byte, j) => bytes[i + j] === byte));
  // The value follows the key and the four bytes of its type.
  new DataView(bytes.buffer).setUint32(at + key.length + 4, 10_000, true);
  Deno.writeFileSync(path, bytes);
  const lengthFor = async (options: LoadOptions) => {
    await using model = await load(path, { device: "cpu", threads: 1, kvTokens: 64, ...options });
    return model.contextLength;
  };
  assert.equal(await lengthFor({}), 4096);
  assert.equal(await lengthFor({ expectedLength: 100 }), 4096);
  assert.equal(await lengthFor({ expectedLength: 9000 }), 9000);
  assert.equal(await lengthFor({ expectedLength: 12_000 }), 10_000);
  assert.equal(await lengthFor({ expectedLength: 9000, contextLength: 512 }), 512);
});
