/** As a program, tries to open each of the given models, and prints its peak memory in bytes. */

import assert from "node:assert/strict";
import { openModelFile } from "../../engine/files/open_model.ts";

/** Returns the peak memory in bytes of a new process that tries to open the models at `paths`. */
export function peakBytes(paths: readonly string[]): number {
  const { stdout, stderr, success } = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-read", import.meta.url, ...paths],
  }).outputSync();
  assert.ok(success, new TextDecoder().decode(stderr));
  return Number(new TextDecoder().decode(stdout));
}

if (import.meta.main) {
  let most = 0;
  for (const path of Deno.args) {
    try {
      openModelFile(path).close();
    } catch {
      // Other tests check the error.
    }
    // What the attempt allocated still counts, as there was no time to collect it as garbage.
    most = Math.max(most, Deno.memoryUsage().rss);
  }
  console.log(most);
}
