/** `tvllm tune` on this machine's adapter: what it prints and stores, and how others use it. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { TUNED_FAMILIES, tuningVariants } from "../../kernels/tuning_variants.ts";
import { ROOT, runTvllm } from "./run_tvllm.ts";

const MODEL = join(ROOT, "fixtures/models/tiny-llama-q8_0.gguf");

Deno.test("tvllm tune checks, times and stores a choice for each family, which later commands use", async () => {
  const env = { TVLLM_CACHE: join(Deno.makeTempDirSync(), "cache") };
  const before = JSON.parse((await runTvllm(["devices", "--json"], { env })).stdout).adapter;
  assert.match(before.tuning, /^defaults for \S/);

  const { code, stdout, stderr } = await runTvllm(["tune", "-m", MODEL, "--json"], { env });
  assert.equal(code, 0, stderr);
  const { path, date, families } = JSON.parse(stdout);
  const variants = tuningVariants(before.driver);
  assert.deepEqual(
    families.map(({ family }: { family: string }) => family),
    TUNED_FAMILIES.filter((family) => variants[family].size > 0),
  );
  for (const { variants, usual, chosen } of families) {
    const of = (name: string) =>
      variants.find((variant: { name: string }) => variant.name === name);
    assert.ok(of(usual).ratio !== undefined || of(usual).fault !== undefined);
    assert.equal(of(chosen).fault, undefined);
    for (const { name, ratio, fault } of variants) {
      assert.ok(ratio > 0 || fault !== undefined, name);
      if (name === usual && fault === undefined) assert.equal(ratio, 1);
    }
  }
  const [line, ...rest] = Deno.readTextFileSync(path).trimEnd().split("\n");
  assert.deepEqual(rest, []);
  const record = JSON.parse(line!);
  assert.equal(Object.keys(record.choices).length, families.length);

  const after = JSON.parse((await runTvllm(["devices", "--json"], { env })).stdout).adapter;
  assert.equal(after.tuning, `tuned on ${date}`);
  const args = ["generate", "-m", MODEL, "--device", "gpu", "-n", "4", "--temp", "0"];
  const tuned = await runTvllm([...args, "-v", "hi"], { env });
  assert.ok(tuned.stderr.includes(`tuned on ${date}`), tuned.stderr);
  const plain = await runTvllm([...args, "hi"], { env: { TVLLM_CACHE: Deno.makeTempDirSync() } });
  assert.equal(tuned.stdout, plain.stdout);

  // The tuning of another version of tvllm causes one note, and the defaults are used.
  Deno.writeTextFileSync(path, `${JSON.stringify({ ...record, tvllm: "0.0.1" })}\n`);
  const stale = await runTvllm([...args, "hi"], { env });
  assert.equal(stale.code, 0);
  assert.match(
    stale.stderr,
    /^Ignoring the tuning in \S+: it was measured with tvllm '0\.0\.1', .*$/m,
  );
  assert.equal(stale.stderr.match(/tuning/g)!.length, 1);
});

Deno.test("tvllm tune reports that it cannot write, before it measures", async () => {
  const blocked = Deno.makeTempFileSync();
  const { code, stderr } = await runTvllm(["tune", "-m", MODEL], { env: { TVLLM_CACHE: blocked } });
  assert.equal(code, 2);
  assert.match(stderr, /^error: Cannot write \S+: .*; set TVLLM_CACHE to a directory that can be/);
});

Deno.test("tvllm tune exits with 5 without an adapter", async () => {
  const env = {
    TVLLM_CACHE: Deno.makeTempDirSync(),
    DENO_WEBGPU_BACKEND: "vulkan",
    VK_DRIVER_FILES: "/no/such.json",
    VK_ICD_FILENAMES: "/no/such.json",
  };
  const { code, stderr } = await runTvllm(["tune", "-m", MODEL], { env });
  assert.equal(code, 5);
  assert.match(stderr, /^error: Cannot find a GPU adapter/m);
});
