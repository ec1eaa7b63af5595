/** Files for the readers' tests, in a scratch directory, and the path of the real model. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** SmolLM2-135M-Instruct in Q4_1, which tests/run fetches. */
export const REAL_MODEL = Deno.env.get("TVLLM_TEST_MODEL") ??
  fileURLToPath(
    new URL("../../.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf", import.meta.url),
  );

/**
 * Returns whether the real model is missing, for a test's `ignore`. If so, logs to stderr why the
 * test is skipped.
 */
export function realModelMissing(): boolean {
  if (existsSync(REAL_MODEL)) return false;
  console.error(
    `skipping: there is no ${REAL_MODEL}; tests/run fetches it, TVLLM_TEST_MODEL names another`,
  );
  return true;
}

/** Runs `use` on a directory that contains these files, then removes the directory. */
export function withFiles<T>(
  files: Readonly<Record<string, Uint8Array | string>>,
  use: (directory: string) => T,
): T {
  const directory = Deno.makeTempDirSync({ prefix: "tvllm-files-" });
  try {
    for (const [name, content] of Object.entries(files)) {
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      Deno.writeFileSync(join(directory, name), bytes);
    }
    return use(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** Runs `use` on the path of a file with this content, then removes the file. */
export function withFile<T>(
  name: string,
  content: Uint8Array | string,
  use: (path: string) => T,
): T {
  return withFiles({ [name]: content }, (directory) => use(join(directory, name)));
}
