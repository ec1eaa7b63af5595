/**
 * Builds the contents of the npm package in dist/npm: `deno task npm`, which `npm pack` runs. They are the
 * program and the library as JavaScript, the library's types, and the notices of the bundled packages.
 * Everything is bundled, so the package depends on Deno alone.
 */

import { dirname, join } from "node:path";
import denoJson from "../deno.json" with { type: "json" };
import { declarationsOf } from "./declarations.ts";
import { makeNotices } from "./notices.ts";
import { bundleSplit, ROOT, runTask } from "./task.ts";

/** The library's modules, under the names that deno.json exports. */
export function libraryModules(): Readonly<Record<string, string>> {
  const exported: string | Readonly<Record<string, string>> = denoJson.exports;
  const named = typeof exported === "string" ? { ".": exported } : exported;
  return Object.fromEntries(
    Object.entries(named).map(([name, path]) => [name, path.replace(/^\.\//, "")]),
  );
}

if (import.meta.main) {
  await runTask(async () => {
    const directory = join(ROOT, "dist/npm");
    const entries = Object.values(libraryModules());
    await bundleSplit(directory, ["cli/main.ts", ...entries]);
    for (const [path, text] of await declarationsOf(entries)) {
      await Deno.mkdir(join(directory, dirname(path)), { recursive: true });
      await Deno.writeTextFile(join(directory, path), text);
    }
    await Deno.writeTextFile(join(directory, "NOTICES.txt"), await makeNotices());
  });
}
