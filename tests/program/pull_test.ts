import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { tinyMlx } from "../../fixtures/tiny_mlx.ts";
import { baseEnv, LAUNCHER, ROOT, run, runTvllm, until } from "./run_tvllm.ts";
import { BadHub, content, sha256 } from "../hub/bad_hub.ts";

const NAME = "tiny-Q8_0.gguf";
const MODEL = Deno.readFileSync(
  fileURLToPath(new URL("../../fixtures/models/tiny-llama-q8_0.gguf", import.meta.url)),
);

/** Starts a hub. Returns it with an empty cache, and the environment that selects both. */
async function makeShell(bytes = MODEL, prefix = "a cache ") {
  const hub = new BadHub({ [NAME]: bytes });
  const cache = await Deno.makeTempDir({ prefix });
  return { hub, cache, env: { HF_ENDPOINT: hub.endpoint, TVLLM_CACHE: cache, HF_TOKEN: "secret" } };
}

Deno.test("tvllm pull, list, -m and rm work together; a second pull needs no download", async () => {
  const { hub, env } = await makeShell(MODEL, "with a comma, ");
  await using _hub = hub;
  const pulled = await runTvllm(["pull", "hf.co/org/repo"], { env });
  assert.equal(pulled.code, 0, pulled.stderr);
  assert.deepEqual(Deno.readFileSync(pulled.stdout.trimEnd()), MODEL);
  assert.match(pulled.stderr, /^Downloading 1 file, .*\nDownloaded and verified in \d+ s\n$/);
  assert.equal(hub.seen[0]!.token, "Bearer secret");
  assert.match(
    (await runTvllm(["pull", "hf:org/repo"], { env })).stderr,
    /is already in the cache/,
  );
  assert.equal(hub.downloads.length, 1);
  const requests = hub.seen.length;
  for (
    const [args, more] of [
      [["pull", "--offline", "hf:org/repo"], {}],
      [["pull", "hf:org/repo"], { HF_HUB_OFFLINE: "1" }],
    ] as const
  ) {
    assert.equal((await runTvllm(args, { env: { ...env, ...more } })).stdout, pulled.stdout);
  }
  const inspected = await runTvllm(["inspect", "--json"], {
    env: { ...env, TVLLM_MODEL: "hf:org/repo:q8_0" },
  });
  assert.deepEqual(JSON.parse(inspected.stdout).files, [pulled.stdout.trimEnd()]);
  assert.match((await runTvllm(["list"], { env })).stdout, /\| hf:org\/repo:Q8_0 +\|.* [kM]B \|/);
  assert.equal((await runTvllm(["rm", "hf:org/repo:Q8_0"], { env })).code, 0);
  assert.equal((await runTvllm(["list"], { env })).stdout, "");
  assert.equal((await runTvllm(["rm", "hf:org/repo:Q8_0"], { env })).code, 3);
  assert.equal(hub.seen.length, requests);
});

Deno.test("-m downloads a model that the cache lacks, once, unless HF_HUB_OFFLINE is set", async () => {
  const { hub, env } = await makeShell();
  await using _hub = hub;
  const offline = { ...env, HF_HUB_OFFLINE: "1" };
  const spec = "hf:org/repo:q8_0";
  const missing = await runTvllm(["inspect", spec], { env: offline });
  assert.equal(missing.code, 3);
  assert.match(missing.stderr, /^error: Cannot find hf:org\/repo:q8_0 in the cache .*\n$/);
  assert.equal(hub.seen.length, 0);

  hub.fault = () => new Response("", { status: 404 });
  const unknown = await runTvllm(["tokenize", "-m", spec, "a"], { env });
  assert.deepEqual([unknown.code, unknown.stdout], [3, ""]);
  assert.match(unknown.stderr, /^error: Cannot download hf:org\/repo:q8_0: [^\n]*\(404\)[^\n]*\n$/);
  hub.fault = () => undefined;

  const args = ["generate", "-m", spec, "--raw", "-n", "4", "--temp", "0", "--device", "cpu", "a"];
  const first = await runTvllm(args, { env });
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stderr, /^Downloading 1 file, .*\nDownloaded and verified in \d+ s\n/);
  assert.equal(hub.seen.at(-1)!.token, "Bearer secret");
  const requests = hub.seen.length;
  const second = await runTvllm(args, { env: { ...env, TVLLM_MODEL: "hf:org/other" } });
  assert.doesNotMatch(second.stderr, /Download/);
  assert.equal(second.stdout, first.stdout);
  const byVariable = await runTvllm(["inspect", "--json"], {
    env: { ...offline, TVLLM_MODEL: spec },
  });
  assert.equal(byVariable.code, 0, byVariable.stderr);
  assert.equal(hub.seen.length, requests);
});

Deno.test("-m downloads a repository of MLX: weights, config and tokenizer", async () => {
  const { hub, env } = await makeShell();
  await using _hub = hub;
  delete hub.files[NAME];
  for (const [name, content] of Object.entries(tinyMlx(["qwen3", 8, 64, "BF16"]))) {
    hub.files[name] = typeof content === "string"
      ? new TextEncoder().encode(content)
      : new Uint8Array(content);
  }
  const args = ["generate", "-m", "hf:org/repo", "-n", "3", "--device", "cpu", "hi"];
  const { code, stderr } = await runTvllm(args, { env });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^Downloading 5 files, /);
  const { stdout } = await runTvllm(["inspect", "hf:org/repo"], { env });
  assert.match(stdout, /^# org\/repo\n/);
  assert.match(stdout, /\| MLX8_64 +\|.*8\.50 \|/);
});

Deno.test("two processes at once continue a killed download, and download the rest once", async () => {
  const bytes = content(300_000);
  const { hub, cache, env } = await makeShell(bytes);
  await using _hub = hub;
  hub.fault = ({ path, range }) =>
    path.endsWith(".gguf") && range === null
      ? new Response(
        new ReadableStream({ start: (controller) => controller.enqueue(bytes.subarray(0, 5000)) }),
      )
      : undefined;
  const child = new Deno.Command("sh", {
    args: [LAUNCHER, "pull", "hf:org/repo"],
    env: { ...baseEnv(), ...env },
    cwd: ROOT,
    stdout: "null",
    stderr: "null",
  }).spawn();
  const partial = join(cache, "models--org--repo/blobs", `${sha256(bytes)}.incomplete`);
  await until(
    async () => (await Deno.stat(partial).catch(() => undefined))?.size === 5000 || undefined,
    () => "the first 5000 bytes were not downloaded",
  );
  child.kill("SIGKILL");
  await child.status;
  assert.equal((await runTvllm(["list"], { env })).stdout, "");
  const both = await Promise.all([1, 2].map(() => runTvllm(["pull", "hf:org/repo"], { env })));
  for (const { code, stdout, stderr } of both) {
    assert.equal(code, 0, stderr);
    assert.deepEqual(Deno.readFileSync(stdout.trimEnd()), bytes);
  }
  assert.deepEqual(hub.downloads.map(({ range }) => range), [null, "bytes=5000-"]);
});

Deno.test({
  name: "SIGTERM ends a waiting download with exit code 143, and keeps what was downloaded",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const bytes = content(300_000);
    const { hub, cache, env } = await makeShell(bytes);
    await using _hub = hub;
    hub.fault = ({ path }) =>
      path.endsWith(".gguf")
        ? new Response(
          new ReadableStream({
            start: (controller) => controller.enqueue(bytes.subarray(0, 5000)),
          }),
        )
        : undefined;
    const partial = join(cache, "models--org--repo/blobs", `${sha256(bytes)}.incomplete`);
    const start = () =>
      new Deno.Command("sh", {
        args: [LAUNCHER, "pull", "hf:org/repo"],
        env: { ...baseEnv(), ...env },
        cwd: ROOT,
        stdout: "null",
        stderr: "piped",
      }).spawn();
    const child = start();
    await until(
      async () => (await Deno.stat(partial).catch(() => undefined))?.size === 5000 || undefined,
      () => "the first 5000 bytes were not downloaded",
    );
    child.kill("SIGTERM");
    assert.equal((await child.output()).code, 143);
    assert.equal(Deno.statSync(partial).size, 5000);
  },
});

Deno.test({
  name: "a full disk is an error, and the download can be continued",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const bytes = content(3_000_000);
    const { hub, env } = await makeShell(bytes);
    await using _hub = hub;
    // A limit on the size of files stands in for a full disk. Its signal is ignored, so that
    // writing fails with an error.
    const script = 'trap "" XFSZ; ulimit -f 2000; exec sh "$0" pull hf:org/repo';
    const full = await run("sh", ["-c", script, LAUNCHER], { env });
    assert.equal(full.code, 3, full.stderr);
    assert.match(full.stderr, /error: Cannot write to the cache .*: the disk is full; .*\n$/);
    const { code, stdout } = await runTvllm(["pull", "hf:org/repo"], { env });
    assert.equal(code, 0);
    assert.deepEqual(Deno.readFileSync(stdout.trimEnd()), bytes);
    assert.match(hub.downloads[1]!.range!, /^bytes=\d{6,7}-$/);
  },
});

Deno.test("an invalid model name is a usage error; a refused download ends with exit code 3 and one line", async () => {
  const { hub, env } = await makeShell();
  await using _hub = hub;
  for (
    const spec of ["org/repo", "hf:org", "hf:../x", "hf:o/r:../../x", "hf:o/r@../x", "hf:a/b/c"]
  ) {
    const { code, stderr } = await runTvllm(["pull", spec], { env });
    assert.equal(code, 2);
    assert.match(stderr, /^error: Cannot understand the model '[^\n]*\n$/);
  }
  hub.fault = () => new Response("", { status: 404 });
  const { code, stdout, stderr } = await runTvllm(["pull", "hf:org/repo"], { env });
  assert.deepEqual([code, stdout], [3, ""]);
  assert.match(stderr, /^error: Cannot download hf:org\/repo: [^\n]*\(404\)[^\n]*\n$/);
});
