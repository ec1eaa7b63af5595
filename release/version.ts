/**
 * `deno task version` prints the version, which is stored in deno.json. `deno task version 0.2.0`
 * sets it there, in package.json and in CHANGELOG.md; `deno task version --release` dates it in
 * CHANGELOG.md. `deno task version --notes TAG` prints its section of CHANGELOG.md, if TAG is its
 * tag.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import denoJson from "../deno.json" with { type: "json" };
import { ROOT, runTask } from "./task.ts";

const HEADING = /^## (\S+) \((unreleased|\d{4}-\d\d-\d\d)\)$/m;

/** The changelog with a new version on top. An unreleased section gets the new version instead. */
export function withVersion(changelog: string, version: string): string {
  const [first, , state] = topHeading(changelog);
  const heading = `## ${version} (unreleased)`;
  return changelog.replace(first, state === "unreleased" ? heading : `${heading}\n\n${first}`);
}

/** The changelog with a date (YYYY-MM-DD) for the top version. */
export function withDate(changelog: string, date: string): string {
  const [first, version, state] = topHeading(changelog);
  if (state !== "unreleased") {
    throw new Error(`Cannot release ${version}: it was released on ${state}`);
  }
  return changelog.replace(first, `## ${version} (${date})`);
}

/** The changelog's section of the top version, if `tag` is its tag and it has a date. */
export function notesOf(changelog: string, tag: string): string {
  const [first, version, state] = topHeading(changelog);
  if (tag !== `v${version}`) {
    throw new Error(`Cannot release ${tag}: CHANGELOG.md begins with ${version}`);
  }
  if (state === "unreleased") {
    throw new Error(`Cannot release ${tag}: run deno task version --release to set its date`);
  }
  const after = changelog.slice(changelog.indexOf(first) + first.length);
  return `${after.split(/^## /m)[0]!.trim()}\n`;
}

function topHeading(changelog: string): [heading: string, version: string, state: string] {
  const [heading, version, state] = HEADING.exec(changelog) ?? [];
  if (state === undefined) throw new Error("Cannot find a version in CHANGELOG.md");
  return [heading!, version!, state];
}

/** Rewrites a file of the project. */
function edit(path: string, change: (text: string) => string): void {
  const text = Deno.readTextFileSync(join(ROOT, path));
  Deno.writeTextFileSync(join(ROOT, path), change(text));
}

if (import.meta.main) {
  await runTask((args) => {
    const { values, positionals: [version] } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { release: { type: "boolean" }, notes: { type: "string" } },
    });
    if (values.notes !== undefined) {
      const changelog = Deno.readTextFileSync(join(ROOT, "CHANGELOG.md"));
      console.log(notesOf(changelog, values.notes).trimEnd());
      return;
    }
    if (values.release) {
      const [date] = new Date().toISOString().split("T") as [string, string];
      edit("CHANGELOG.md", (text) => withDate(text, date));
    } else if (version !== undefined) {
      if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) {
        throw new TypeError(`Cannot set the version ${version}: expected a version such as 0.2.0`);
      }
      for (const path of ["deno.json", "package.json"]) {
        edit(path, (text) => text.replace(/("version": )"[^"]*"/, `$1"${version}"`));
      }
      edit("CHANGELOG.md", (text) => withVersion(text, version));
    }
    console.log(version ?? denoJson.version);
  });
}
