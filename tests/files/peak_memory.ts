/** Tries to open each file named, and prints the most bytes that the process had in memory. */

import { openGguf } from "../../engine/files/gguf.ts";

let most = 0;
for (const path of Deno.args) {
  try {
    openGguf(path).close();
  } catch {
    // What it says is another test's business.
  }
  // What the attempt allocated is still there: nothing has had the time to be collected.
  most = Math.max(most, Deno.memoryUsage().rss);
}
console.log(most);
