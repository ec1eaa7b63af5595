/** Bundles the program with all packages into one file: `deno task bundle`. */

import { stamp } from "./stamp.ts";
import { ROOT, runDeno, runTask } from "./task.ts";

if (import.meta.main) {
  await runTask(async ([output]) => {
    const flags = ["--lock=cli/deno.lock", "--frozen", "--output", output!];
    await runDeno(["bundle", ...flags, "cli/main.ts"], "bundle");
    await stamp(ROOT, [output!]);
  });
}
