import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT, run } from "./run_tvllm.ts";

Deno.test({
  name: "OutputFile gives a pipe the last content only, whole",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const script = join(Deno.makeTempDirSync(), "program.ts");
    Deno.writeTextFileSync(
      script,
      `import { OutputFile } from ${JSON.stringify(join(ROOT, "cli/output_file.ts"))};
      using file = OutputFile.open("json", "/dev/stdout");
      file.write("first ");
      file.write("x".repeat(200_000));`,
    );
    const flags = ["--no-prompt", "-A", `--config=${join(ROOT, "deno.json")}`];
    const { code, stdout, stderr } = await run(Deno.execPath(), ["run", ...flags, script]);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, "x".repeat(200_000));
  },
});
