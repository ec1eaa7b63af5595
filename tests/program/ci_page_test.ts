/** Runs the scripts of the workflow in docs/ci.md, with short requests. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "yaml";
import { exists, lacks, ROOT, run, symlink } from "./run_tvllm.ts";

Deno.test({
  name: "the workflow of docs/ci.md measures both versions, and compares them",
  ignore: lacks("the workflow of docs/ci.md", "bash"),
  fn: async () => {
    const page = Deno.readTextFileSync(join(ROOT, "docs/ci.md"));
    const { jobs } = parse(/```yaml\n(.*?)```/s.exec(page)![1]!);
    const [measure, compare] = jobs.speed.steps.flatMap((step: { run?: string }) => step.run ?? []);
    const directory = await Deno.makeTempDir();
    for (const side of ["base", "new"]) symlink(ROOT, join(directory, side));
    const short = measure.replace("1 2 3 4", "1 2")
      .replace("--contexts 128", "--contexts 16 -p 8 -n 3 -r 6 --warmup 0 --requests 1");
    assert.notEqual(short, measure);
    const measured = await run("bash", ["-euc", short], { cwd: directory });
    assert.equal(measured.code, 0, measured.stderr);
    // Equal sides may be called different by chance.
    const compared = await run("bash", ["-euc", compare], { cwd: directory });
    assert.ok(compared.code === 0 || compared.code === 7, compared.stderr);
    assert.ok(exists(join(directory, "compare.md")));
    assert.match(
      compared.stdout,
      /^\| Runs +\| 4 with 6 repetitions +\| 4 with 6 repetitions +\|$/m,
    );
    assert.match(compared.stdout, /^\| e2e +\| .* \| \d\.\d{3} \[.*\] +\|/m);
    await Deno.remove(directory, { recursive: true });
  },
});
