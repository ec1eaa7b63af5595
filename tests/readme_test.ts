/** Runs what the README tells its readers to run. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { writeTinyModel } from "../fixtures/tiny_models.ts";
import { ROOT, run } from "./cli/run_tvllm.ts";

const readme = await Deno.readTextFile(join(ROOT, "README.md"));
const commands = [...readme.matchAll(/^```sh\n(.*?)^```/gms)]
  .flatMap(([, block]) => block!.replaceAll("\\\n", " ").split("\n"))
  .filter((line) => line.includes("./tvllm"));

const ofHub = (command: string) => command.includes("hf:");

Deno.test("the README has commands to run", () => {
  assert.ok(commands.length >= 2, String(commands.length));
});

for (const command of new Set(commands)) {
  Deno.test({
    // Tests reach no network but the loopback; tests/hub pulls from a hub of its own.
    name: `README: ${command}${ofHub(command) ? " (needs the hub)" : ""}`,
    ignore: ofHub(command),
    fn: async () => {
      // Readers name a model of theirs; the speed of the real one is not what is tested here.
      const model = writeTinyModel(Deno.makeTempDirSync(), "llama", "Q8_0");
      const line = command.replace(/-m \S+\.gguf/, `-m ${model}`).replace(/ -r \d+/, " -r 1");
      const result = await run("sh", ["-c", line], { stdin: "A short text.\n" });
      assert.equal(result.code, 0, result.stderr);
      assert.notEqual(result.stdout.trim(), "");
    },
  });
}
