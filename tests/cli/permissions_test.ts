import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT, run } from "./run_tvllm.ts";

/** The permissions left of all, once `command` has begun. */
async function left(command: string): Promise<string[]> {
  const program = join(Deno.makeTempDirSync(), "program.ts");
  Deno.writeTextFileSync(
    program,
    `import { dropPermissions } from ${JSON.stringify(join(ROOT, "cli/permissions.ts"))};
    dropPermissions(${JSON.stringify(command)});
    const names = ["read", "write", "net", "env", "run", "sys", "ffi"];
    console.log(names.filter((name) =>
      Deno.permissions.querySync({ name }).state === "granted").join());`,
  );
  const { stdout, stderr } = await run(Deno.execPath(), ["run", "-A", "--no-prompt", program]);
  assert.equal(stderr, "");
  return stdout.trim().split(",");
}

for (
  const [command, expected] of [
    ["generate", ["read", "env"]],
    ["bench", ["read", "write", "env"]],
    ["pull", ["read", "write", "net", "env"]],
  ] as const
) {
  Deno.test(`with all permissions given, ${command} keeps ${expected.join(", ")}`, async () => {
    assert.deepEqual(await left(command), expected);
  });
}

Deno.test("the program gives back what it does not need before a command runs", async () => {
  const script = join(Deno.makeTempDirSync(), "program.ts");
  Deno.writeTextFileSync(
    script,
    `import { main } from ${JSON.stringify(join(ROOT, "cli/main.ts"))};
    await main(["tokenize", "a"]);
    console.log(Deno.permissions.querySync({ name: "net" }).state);`,
  );
  const { stdout } = await run(Deno.execPath(), [
    "run",
    `--config=${join(ROOT, "deno.json")}`,
    "-A",
    "--no-prompt",
    script,
  ]);
  assert.notEqual(stdout, "");
  assert.notEqual(stdout.trim().split("\n").at(-1), "granted");
});
