/** `-m synth:NAME:QUANT` makes a model once and keeps it in the cache, as list and rm show. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { runTvllm } from "./run_tvllm.ts";

const SPEC = "synth:tiny-qwen2:q4_0";

/** The environment for an empty cache, and the path of the model in it. */
function makeShell() {
  const cache = Deno.makeTempDirSync({ prefix: "a cache " });
  return {
    env: { TVLLM_CACHE: cache },
    path: join(cache, "synth", "tiny-qwen2-Q4_0.gguf"),
    [Symbol.dispose]: () => Deno.removeSync(cache, { recursive: true }),
  };
}

Deno.test("two processes that need one synthetic model make it once; list shows it, rm removes it", async () => {
  using shell = makeShell();
  const { env, path } = shell;
  const both = await Promise.all(
    [1, 2].map(() => runTvllm(["inspect", "--json", "-m", SPEC], { env })),
  );
  for (const { code, stdout, stderr } of both) {
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout).files, [path]);
  }
  const made = both.map(({ stderr }) => /^Creating synth:tiny-qwen2:Q4_0/m.test(stderr));
  assert.equal(made.filter(Boolean).length, 1, both.map(({ stderr }) => stderr).join());
  const bytes = Deno.readFileSync(path);
  const again = await runTvllm(["generate", "-m", SPEC, "--device", "cpu", "-n", "2", "a"], {
    env,
  });
  assert.equal(again.code, 0);
  assert.doesNotMatch(again.stderr, /Creating/);
  assert.deepEqual(Deno.readFileSync(path), bytes);
  assert.match(
    (await runTvllm(["list"], { env })).stdout,
    /\| synth:tiny-qwen2:Q4_0 +\|.* [kM]B \|/,
  );
  assert.equal((await runTvllm(["rm", SPEC], { env })).code, 0);
  assert.equal((await runTvllm(["list"], { env })).stdout, "");
  assert.equal((await runTvllm(["rm", SPEC], { env })).code, 3);
});

Deno.test("an unfinished file of a killed process is no model, and is made again", async () => {
  using shell = makeShell();
  const { env, path } = shell;
  Deno.mkdirSync(join(path, ".."));
  Deno.writeTextFileSync(`${path}.part`, "half of a model");
  Deno.writeTextFileSync(join(path, "../other.gguf.part"), "half of another");
  Deno.writeTextFileSync(join(path, "../busy.gguf.part"), "half of one that is being made");
  using busy = Deno.openSync(join(path, "../busy.gguf.lock"), { create: true, write: true });
  busy.lockSync(true);
  assert.equal((await runTvllm(["list"], { env })).stdout, "");
  const { code, stderr } = await runTvllm(["inspect", "-m", SPEC], { env });
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    [...Deno.readDirSync(join(path, ".."))].map(({ name }) => name).sort(),
    [
      "busy.gguf.lock",
      "busy.gguf.part",
      "other.gguf.lock",
      "tiny-qwen2-Q4_0.gguf",
      "tiny-qwen2-Q4_0.gguf.lock",
    ],
  );
});

Deno.test("bench accepts a synthetic model with -m, and names the known ones if it does not know it", async () => {
  using shell = makeShell();
  const { env } = shell;
  const size = "-p 4 -n 2 -r 1 --requests 1 --warmup 0 --bandwidth 1000".split(" ");
  const args = ["bench", "latency", "-m", "synth:tiny-qwen2", ...size];
  const { code, stdout, stderr } = await runTvllm(args, { env });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /tiny-qwen2/);
  for (
    const [spec, known] of [
      ["synth:gpt-9", /^error: Cannot make 'synth:gpt-9': the known models are .*qwen3-0\.6b.*\n$/],
      ["synth:tiny-qwen2:Q9", /^error: .*the known formats are F32, .*Q4_K_M.*\n$/],
      ["synth:tiny-qwen2:Q8_0:x", /^error: .*expected synth:NAME\[:QUANT\].*\n$/],
    ] as const
  ) {
    const { code, stderr } = await runTvllm(["bench", "latency", spec], { env });
    assert.equal(code, 2);
    assert.match(stderr, known);
  }
});

Deno.test("bench and bench ab create all missing models before they open the first", async () => {
  const [first, second] = [["-m", "synth:tiny-llama", "--device", "cpu"], ["-m", SPEC]];
  const size = "-p 4 -n 2 -r 1 --requests 1 --warmup 0 --bandwidth 1000".split(" ");
  for (
    const args of [
      ["bench", "latency", ...first!, ...second!, ...size],
      ["bench", "ab", ..."-p 4 -n 2 --budget 0.1 --".split(" "), ...first!, "--", ...second!],
    ]
  ) {
    using shell = makeShell();
    const { code, stdout, stderr } = await runTvllm(args, { env: shell.env });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /tiny-llama[^]*tiny-qwen2/);
  }
});

Deno.test("an error says that the cache cannot be written", async () => {
  using shell = makeShell();
  Deno.writeTextFileSync(join(shell.path, ".."), "a file in the way");
  const { code, stderr } = await runTvllm(["inspect", "-m", SPEC], { env: shell.env });
  assert.equal(code, 2);
  assert.match(
    stderr,
    /^error: Cannot write .*tiny-qwen2-Q4_0\.gguf: .*; set TVLLM_CACHE to another directory\n$/,
  );
});
