/** Creates projects outside of this one that use the library, and runs Deno in them. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run, type RunResult } from "./run_tvllm.ts";

/** The library's entry point. */
export const LIBRARY = fileURLToPath(new URL("../../mod.ts", import.meta.url));

/** The library's name. */
export const NAME = "@tvllm/tvllm";

/** Path of the built-in model. */
export const MODEL = fileURLToPath(new URL("../../fixtures/builtin.gguf", import.meta.url));

/** Creates a directory with only these files. Returns its path. */
export function makeProject(files: Readonly<Record<string, string>>): string {
  const directory = Deno.makeTempDirSync({ prefix: "tvllm-project-" });
  for (const [name, text] of Object.entries(files)) {
    Deno.writeTextFileSync(join(directory, name), text);
  }
  return directory;
}

/** Runs `deno args…` in `cwd`, with `env` and only those other variables that `run` passes. */
export function deno(
  cwd: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<RunResult> {
  return run(Deno.execPath(), args, { cwd, env: { NO_COLOR: "1", ...env } });
}
