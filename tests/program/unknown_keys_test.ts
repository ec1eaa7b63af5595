import assert from "node:assert/strict";
import { join } from "node:path";
import type { GgufValue } from "../../engine/files/gguf_writer.ts";
import { ggufBytes, tinyParts } from "../../fixtures/tiny_models.ts";
import { runTvllm } from "./run_tvllm.ts";

Deno.test("a model's unknown keys are named in a note, all of them with -v", async () => {
  const parts = tinyParts("llama", "Q8_0");
  const metadata = new Map<string, GgufValue>(parts.metadata);
  for (const name of ["a", "b\u001b", "c", "d", "e"]) {
    metadata.set(`llama.${name}`, { type: "uint32", value: 1 });
  }
  const path = join(Deno.makeTempDirSync(), "m.gguf");
  Deno.writeFileSync(path, ggufBytes({ ...parts, metadata }));
  const args = ["generate", "-m", path, "--device", "cpu", "--threads", "1", "-n", "1", "a"];
  const noted = await runTvllm(args);
  assert.equal(noted.code, 0, noted.stderr);
  assert.match(
    noted.stderr,
    /keys that tvllm does not know.*: 'llama\.a', 'llama\.b\\u\{1b\}', 'llama\.c', 'llama\.d' and 1 more/,
  );
  assert.doesNotMatch(noted.stderr, /llama\.e/);
  assert.match((await runTvllm([...args, "-v"])).stderr, /Unknown keys: .*, 'llama\.e'\n/);
  assert.doesNotMatch((await runTvllm([...args, "-q"])).stderr, /keys/);
});
