/** `deno install` from the checkout. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT, run } from "./run_tvllm.ts";

Deno.test("deno install creates a command that runs the checkout from any directory", async () => {
  const root = Deno.makeTempDirSync();
  // The whole environment is passed on because it may configure how the registry is reached.
  const installed = await new Deno.Command(Deno.execPath(), {
    args: ["task", "install", "--root", root],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  assert.equal(installed.code, 0, new TextDecoder().decode(installed.stderr));
  const cwd = Deno.makeTempDirSync();
  const args = ["generate", "Once upon a time", "-n", "8", "--seed", "1", "--device", "cpu"];
  // On Windows the command is tvllm.cmd.
  const command = join(root, "bin/tvllm");
  const { code, stdout, stderr } = await run("sh", [command, ...args], { cwd });
  assert.equal(code, 0, stderr);
  assert.equal(stdout, (await run("sh", [join(ROOT, "tvllm"), ...args])).stdout);
  assert.deepEqual([...Deno.readDirSync(cwd)], []);
});
