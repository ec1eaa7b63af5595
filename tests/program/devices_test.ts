/** `tvllm devices` on this machine's adapter and on none; tests/gpu/drivers_test.ts has other drivers. */

import assert from "node:assert/strict";
import { GROUP_LAYOUT } from "../../kernels/tensor_types.ts";
import { runTvllm } from "./run_tvllm.ts";

/** Finds no Vulkan driver: the loader looks at these alone. */
const NO_DRIVER = {
  DENO_WEBGPU_BACKEND: "vulkan",
  VK_DRIVER_FILES: "/no/such.json",
  VK_ICD_FILENAMES: "/no/such.json",
};

/** Every kernel and format once: what a check must not leave out. */
const FAMILIES = 2 * Object.keys(GROUP_LAYOUT).length + 15;

async function adapterOf(env: Readonly<Record<string, string>>) {
  const { code, stdout, stderr } = await runTvllm(["devices", "--json"], {
    env,
  });
  assert.equal(code, 0, stderr);
  const { adapter, speed } = JSON.parse(stdout);
  if (adapter !== null) assert.ok(speed.bandwidth_gb_per_second > 0 && speed.gflops > 0);
  return adapter;
}

Deno.test("tvllm devices says in plain words what will run here", async () => {
  // What this user's tuning is does not matter. Drivers complain of a missing directory, unless told of one.
  const env = { TVLLM_CACHE: Deno.makeTempDirSync(), XDG_RUNTIME_DIR: "" };
  const { code, stdout, stderr } = await runTvllm(["devices"], { env });
  assert.equal(stderr, "");
  assert.equal(code, 0);
  for (
    const word of ["kind", "launch sizes", "answers", "prompts", "largest binding", "subgroups"]
  ) {
    assert.match(stdout, new RegExp(`^  ${word} `, "m"));
  }
  const { description, driver, limits } = await adapterOf({});
  assert.ok(stdout.startsWith(`${description}\n`));
  assert.ok(driver === "hardware" || driver === "software");
  assert.ok(limits.maxStorageBufferBindingSize >= 1 << 27);
});

Deno.test("tvllm devices --check computes with every kernel", async () => {
  const { code, stdout, stderr } = await runTvllm(["devices", "--check"]);
  assert.equal(code, 0, stderr + stdout);
  assert.equal(stdout.match(/^ {2}ok {4}/gm)?.length, FAMILIES);
});

Deno.test("without an adapter tvllm devices says what to install, and --check ends with 5", async () => {
  const env = NO_DRIVER;
  const plain = await runTvllm(["devices"], { env });
  assert.equal(plain.code, 0);
  assert.match(plain.stdout, /on the CPU.*install a Vulkan driver/);
  const json = await runTvllm(["devices", "--json"], { env });
  assert.equal(JSON.parse(json.stdout).adapter, null);
  const check = await runTvllm(["devices", "--check"], { env });
  assert.equal(check.code, 5);
  assert.match(check.stderr, /^error: Cannot find a GPU adapter: [^\n]*\n$/);
});
