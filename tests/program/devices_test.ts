/** `tvllm devices` with this machine's adapter, and without. See also tests/gpu/drivers_test.ts. */

import assert from "node:assert/strict";
import { GROUP_LAYOUT } from "../../kernels/tensor_types.ts";
import { runTvllm } from "./run_tvllm.ts";

/** Makes the Vulkan loader find no driver, because it looks only at these paths. */
const NO_DRIVER = {
  DENO_WEBGPU_BACKEND: "vulkan",
  VK_DRIVER_FILES: "/no/such.json",
  VK_ICD_FILENAMES: "/no/such.json",
};

/** The number of kernels and formats that a check must include. */
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

Deno.test("tvllm devices describes what runs on this machine", async () => {
  // The empty cache hides the user's tuning. Drivers complain about a missing XDG_RUNTIME_DIR,
  // unless tvllm sets it.
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

Deno.test("tvllm devices --check runs every kernel", async () => {
  const { code, stdout, stderr } = await runTvllm(["devices", "--check"]);
  assert.equal(code, 0, stderr + stdout);
  assert.equal(stdout.match(/^ {2}ok {4}/gm)?.length, FAMILIES);
});

Deno.test("without an adapter, tvllm devices says what to install, and --check exits with 5", async () => {
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
