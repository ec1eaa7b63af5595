/** Run as a program: tries to open each model named, and prints the most bytes that it had in memory. */

import assert from "node:assert/strict";
import { openModelFile } from "../../engine/files/open_model.ts";

/** Most memory that a process of its own ever took to try and open the models at `paths`. */
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
      // What it says is another test's business.
    }
    // What the attempt allocated is still there: nothing has had the time to be collected.
    most = Math.max(most, Deno.memoryUsage().rss);
  }
  console.log(most);
}
