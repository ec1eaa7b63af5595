/**
 * Makes what the npm package carries, in dist/npm: `deno task npm`, which `npm pack` runs. That is the
 * program and the library as JavaScript with all packages in it, so that nothing else is downloaded
 * but Deno, the types of the library, and the notices of the packages.
 */

import { dirname, join } from "node:path";
import denoJson from "../deno.json" with { type: "json" };
import { declarationsOf } from "./declarations.ts";
import { makeNotices } from "./notices.ts";
import { ROOT, runDeno, runTask } from "./task.ts";

/** The modules that others may import, by the names that deno.json exports them under. */
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
    await Deno.remove(directory, { recursive: true }).catch(() => {});
    const entries = Object.values(libraryModules());
    // Split, so that the library and the program share what they have in common, and what draws
    // charts is only read when they are asked for.
    const flags = ["--lock=cli/deno.lock", "--frozen", "--code-splitting", "--outdir", directory];
    await runDeno(["bundle", ...flags, "cli/main.ts", ...entries], "bundle");
    for (const [path, text] of await declarationsOf(entries)) {
      await Deno.mkdir(join(directory, dirname(path)), { recursive: true });
      await Deno.writeTextFile(join(directory, path), text);
    }
    await Deno.writeTextFile(join(directory, "NOTICES.txt"), await makeNotices());
  });
}
