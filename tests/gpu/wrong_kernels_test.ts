/** `tvllm devices --check` on a driver that cannot be trusted. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { run } from "../program/run_tvllm.ts";

Deno.test("devices --check exits with 7 and names only the kernels that are wrong or refused", async () => {
  const program = fileURLToPath(new URL("wrong_kernels.ts", import.meta.url));
  const permissions = ["--no-prompt", "--allow-read", "--allow-env"];
  const { code, stdout, stderr } = await run(Deno.execPath(), ["run", ...permissions, program]);
  assert.equal(code, 7, stderr);
  // Deno's WebGPU may have printed something about the refused kernel before.
  assert.match(
    stderr,
    /^error: Cannot trust .* from embed Q8_0, rope_append f16, rope_append f32, attention f32; .*\n$/m,
  );
  const { checks } = JSON.parse(stdout);
  const wrong = checks.filter(({ passed }: { passed: boolean }) => !passed);
  assert.deepEqual(wrong.map(({ name }: { name: string }) => name), [
    "embed Q8_0",
    "rope_append f16",
    "rope_append f32",
    // Its queries and keys come from rope_append.
    "attention f32",
  ]);
  const [refused, , norm] = wrong;
  assert.match(refused.message, /embed_q8_0/);
  // Every head is a thousandth too large.
  assert.ok(norm.error > 1e-4 && norm.error < 1e-2, `${norm.error}`);
});
