/** The graphics API that models run on: `--backend`, and the variable that Deno reads. */

import assert from "node:assert/strict";
import { runTvllm } from "./run_tvllm.ts";

const HELLO = ["generate", "Hello", "-n", "2", "-q"];
/** A graphics API that this operating system never has. */
const MISSING = Deno.build.os === "darwin" ? "dx12" : "metal";

Deno.test("--backend uses only adapters of that graphics API", async () => {
  const { code, stdout, stderr } = await runTvllm([...HELLO, "--backend", MISSING]);
  assert.equal(code, 5);
  assert.equal(stdout, "");
  assert.match(stderr, new RegExp(`^error: Cannot find a GPU adapter for ${MISSING}: [^\n]*\n$`));
});

Deno.test("--backend is refused with --device cpu", async () => {
  const { code, stderr } = await runTvllm([...HELLO, "--backend", "vulkan", "--device", "cpu"]);
  assert.equal(code, 2);
  assert.match(stderr, /^error: Cannot use --backend with --device cpu: [^\n]*\n$/);
});

Deno.test("DENO_WEBGPU_BACKEND may name several backends, but none that Deno would ignore; an empty one has no effect", async () => {
  const env = { DENO_WEBGPU_BACKEND: "vulkan,cuda" };
  const { code, stderr } = await runTvllm([...HELLO, "--device", "cpu"], { env });
  assert.equal(code, 2);
  assert.match(stderr, /^error: Cannot use the backend 'cuda' from DENO_WEBGPU_BACKEND: [^\n]*\n$/);
  const empty = { DENO_WEBGPU_BACKEND: "" };
  assert.equal((await runTvllm([...HELLO, "--device", "gpu"], { env: empty })).code, 0);
  const known = { DENO_WEBGPU_BACKEND: "Vulkan, gl" };
  assert.equal((await runTvllm([...HELLO, "--device", "cpu"], { env: known })).code, 0);
});
