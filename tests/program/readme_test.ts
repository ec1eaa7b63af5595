/** Runs what the README and the pages of docs/ tell their readers to run. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { writeTinyModel } from "../../fixtures/tiny_models.ts";
import { LAUNCHER, ROOT, run } from "./run_tvllm.ts";

const PAGES = ["README.md", "docs/quantization.md", "docs/troubleshooting.md"];

/** The lines of a page's blocks of commands that run tvllm, without their comments. */
function commandsOf(page: string): string[] {
  const text = Deno.readTextFileSync(join(ROOT, page));
  return [...text.matchAll(/^```sh\n(.*?)^```/gms)]
    .flatMap(([, block]) => block!.replaceAll("\\\n", " ").split("\n"))
    .map((line) => line.replace(/ +#.*/, ""))
    .filter((line) => line.includes("./tvllm"));
}

/** Where the commands run: what they write must not come into the project. */
const directory = Deno.makeTempDirSync();
const model = writeTinyModel(directory, "llama", "Q8_0");

/** The command with a tiny model and few tokens: the speed of real ones is not what is tested. */
function prepared(command: string): string {
  return command.replace("./tvllm", `sh '${LAUNCHER}'`)
    .replace(/-m (?:synth:\S+|[^\s:]+\.gguf)/, `-m '${model}'`)
    .replace(/ docs\//, ` ${ROOT}/docs/`)
    .replace(/( bench \w+).*?( --chart .*)?$/, `$1 -m '${model}' -p 16 -n 4 -r 1 --warmup 0$2`);
}

Deno.test("the README has commands to run", () => {
  assert.ok(commandsOf("README.md").length >= 5);
});

const commands = new Map(PAGES.flatMap(commandsOf).map((command) => [prepared(command), command]));
for (const [line, command] of commands) {
  const ofHub = command.includes("hf:");
  Deno.test({
    // Tests reach no network but the loopback; tests/hub pulls from a hub of its own.
    name: `the documentation's ${command}${ofHub ? " (needs the hub)" : ""}`,
    ignore: ofHub,
    fn: async () => {
      const result = await run("sh", ["-c", line], { stdin: "A short text.\n", cwd: directory });
      assert.equal(result.code, 0, result.stderr);
      assert.notEqual(result.stdout.trim(), "");
    },
  });
}
