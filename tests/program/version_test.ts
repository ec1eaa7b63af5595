/** The version: in deno.json, package.json and CHANGELOG.md. */

import assert from "node:assert/strict";
import { join } from "node:path";
import denoJson from "../../deno.json" with { type: "json" };
import { notesOf, withDate, withVersion } from "../../release/version.ts";
import { ROOT, run } from "./run_tvllm.ts";

const BEFORE = "# Changelog\n\nText.\n\n## 0.1.0 (2026-01-02)\n\n### Added\n\n- One.\n";
const DURING = BEFORE.replace("## 0.1.0", "## 0.2.0 (unreleased)\n\n- Two.\n\n## 0.1.0");

Deno.test("withVersion() begins a version, or renames the one that is not released", () => {
  assert.match(withVersion(BEFORE, "0.2.0"), /\n\n## 0\.2\.0 \(unreleased\)\n\n## 0\.1\.0 \(2026/);
  assert.equal(withVersion(DURING, "1.0.0"), DURING.replace("0.2.0", "1.0.0"));
  assert.throws(() => withVersion("# Changelog\n", "1.0.0"), /Cannot find a version/);
});

Deno.test("withDate() dates the version on top, once", () => {
  const dated = withDate(DURING, "2026-03-04");
  assert.equal(dated, DURING.replace("unreleased", "2026-03-04"));
  assert.throws(() => withDate(dated, "2026-03-05"), /0\.2\.0: it was released on 2026-03-04/);
});

Deno.test("notesOf() is what the changelog says of a tag that has a date", () => {
  assert.equal(notesOf(withDate(DURING, "2026-03-04"), "v0.2.0"), "- Two.\n");
  assert.equal(notesOf(BEFORE, "v0.1.0"), "### Added\n\n- One.\n");
  assert.throws(() => notesOf(DURING, "v0.2.0"), /--release, which dates it/);
  assert.throws(() => notesOf(BEFORE, "v0.2.0"), /CHANGELOG\.md begins with 0\.1\.0/);
});

/** A copy of what the version is in, and a program that sets it. */
function copy(): { folder: string; set: (...args: string[]) => ReturnType<typeof run> } {
  const folder = Deno.makeTempDirSync();
  Deno.mkdirSync(join(folder, "release"));
  for (
    const path of [
      ...["deno.json", "package.json", "CHANGELOG.md"],
      ...["release/version.ts", "release/task.ts"],
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
    /^error: Cannot set the version 7\.8: expected one as in 0\.2\.0\n$/,
  );
});

Deno.test("the changelog begins with the version of deno.json", () => {
  const changelog = Deno.readTextFileSync(join(ROOT, "CHANGELOG.md"));
  const [, version] = /^## (\S+) /m.exec(changelog)!;
  assert.equal(version, denoJson.version);
});
