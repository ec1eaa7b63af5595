/** `deno task version` prints and sets the version. */

import assert from "node:assert/strict";
import { join } from "node:path";
import denoJson from "../../deno.json" with { type: "json" };
import { ROOT, run } from "./run_tvllm.ts";

/** Copies the files that contain the version. Returns the copy, and how to set its version. */
function copy(): { folder: string; set: (...args: string[]) => ReturnType<typeof run> } {
  const folder = Deno.makeTempDirSync();
  for (const room of ["release", "cli"]) Deno.mkdirSync(join(folder, room));
  for (
    const path of [
      ...["deno.json", "package.json", "CHANGELOG.md"],
      ...[
        "release/version.ts",
        "release/task.ts",
        "release/stamp.ts",
        "cli/commit.ts",
        "cli/host.ts",
      ],
    ]
  ) Deno.copyFileSync(join(ROOT, path), join(folder, path));
  const flags = ["--no-prompt", "--no-lock", "-A"];
  const set = (...args: string[]) =>
    run(Deno.execPath(), ["run", ...flags, join(folder, "release/version.ts"), ...args]);
  return { folder, set };
}

Deno.test("deno task version prints the version, and sets it in all three places", async () => {
  const { folder, set } = copy();
  assert.equal((await set()).stdout, `${denoJson.version}\n`);
  assert.equal((await set("7.8.9")).stdout, "7.8.9\n");
  for (const path of ["deno.json", "package.json"]) {
    assert.equal(JSON.parse(Deno.readTextFileSync(join(folder, path))).version, "7.8.9");
  }
  assert.match(Deno.readTextFileSync(join(folder, "CHANGELOG.md")), /^## 7\.8\.9 \(unreleased\)$/m);
  assert.match((await set("--notes", "v7.8.9")).stderr, /^error: Cannot release v7\.8\.9: run/);
  assert.equal((await set("--release")).stdout, "7.8.9\n");
  const notes = await set("--notes", "v7.8.9");
  assert.equal(notes.code, 0, notes.stderr);
  assert.match(notes.stdout, /\S/);
  const refused = await set("7.8");
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    /^error: Cannot set the version 7\.8: expected a version such as 0\.2\.0\n$/,
  );
});
