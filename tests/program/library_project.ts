/** A project elsewhere that uses the library: an empty directory, and what its programs need. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run, type RunResult } from "./run_tvllm.ts";

/** The library's entry point. */
export const LIBRARY = fileURLToPath(new URL("../../mod.ts", import.meta.url));

/** The library's name. */
export const NAME = "@tvllm/tvllm";

/** The built-in model, to copy. */
export const MODEL = fileURLToPath(new URL("../../fixtures/builtin.gguf", import.meta.url));

/** An empty directory with these files. */
export function makeProject(files: Readonly<Record<string, string>>): string {
  const directory = Deno.makeTempDirSync({ prefix: "tvllm-project-" });
  for (const [name, text] of Object.entries(files)) {
    Deno.writeTextFileSync(join(directory, name), text);
  }
  return directory;
}

/** Runs `deno args…` there, with no more of the environment than `run` passes, and `env`. */
export function deno(
  cwd: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<RunResult> {
  return run(Deno.execPath(), args, { cwd, env: { NO_COLOR: "1", ...env } });
}
