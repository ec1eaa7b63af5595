/** The version in deno.json and CHANGELOG.md. */

import assert from "node:assert/strict";
import denoJson from "../../deno.json" with { type: "json" };
import { notesOf, withDate, withVersion } from "../../release/version.ts";

const BEFORE = "# Changelog\n\nText.\n\n## 0.1.0 (2026-01-02)\n\n### Added\n\n- One.\n";
const DURING = BEFORE.replace("## 0.1.0", "## 0.2.0 (unreleased)\n\n- Two.\n\n## 0.1.0");

Deno.test("withVersion() adds a version, or renames the unreleased one", () => {
  assert.match(withVersion(BEFORE, "0.2.0"), /\n\n## 0\.2\.0 \(unreleased\)\n\n## 0\.1\.0 \(2026/);
  assert.equal(withVersion(DURING, "1.0.0"), DURING.replace("0.2.0", "1.0.0"));
  assert.throws(() => withVersion("# Changelog\n", "1.0.0"), /Cannot find a version/);
});

Deno.test("withDate() dates the first version in the file, once", () => {
  const dated = withDate(DURING, "2026-03-04");
  assert.equal(dated, DURING.replace("unreleased", "2026-03-04"));
  assert.throws(() => withDate(dated, "2026-03-05"), /0\.2\.0: it was released on 2026-03-04/);
});

Deno.test("notesOf() returns the changelog's text for the tag of a dated version", () => {
  assert.equal(notesOf(withDate(DURING, "2026-03-04"), "v0.2.0"), "- Two.\n");
  assert.equal(notesOf(BEFORE, "v0.1.0"), "### Added\n\n- One.\n");
  assert.throws(() => notesOf(DURING, "v0.2.0"), /--release to set its date/);
  assert.throws(() => notesOf(BEFORE, "v0.2.0"), /CHANGELOG\.md begins with 0\.1\.0/);
});

Deno.test("the first version in the changelog is that of deno.json", () => {
  const changelog = Deno.readTextFileSync(new URL("../../CHANGELOG.md", import.meta.url));
  const [, version] = /^## (\S+) /m.exec(changelog)!;
  assert.equal(version, denoJson.version);
});
