import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT, run } from "./run_tvllm.ts";

/** The permissions left of all, once `command` has begun. */
async function left(command: string, model?: string): Promise<string[]> {
  const program = join(Deno.makeTempDirSync(), "program.ts");
  Deno.writeTextFileSync(
    program,
    `import { dropPermissions } from ${JSON.stringify(join(ROOT, "cli/permissions.ts"))};
    dropPermissions(${JSON.stringify(command)}, [${JSON.stringify(model)}]);
    const names = ["read", "write", "net", "env", "run", "sys", "ffi"];
    console.log(names.filter((name) =>
      Deno.permissions.querySync({ name }).state === "granted").join());`,
  );
  const { stdout, stderr } = await run(Deno.execPath(), ["run", "-A", "--no-prompt", program]);
  assert.equal(stderr, "");
  return stdout.trim().split(",");
}

for (
  const [command, model, expected] of [
    ["generate", "a.gguf", ["read", "env"]],
    ["generate", "hf:a/b", ["read", "write", "net", "env"]],
    ["bench", undefined, ["read", "write", "env"]],
    ["pull", "hf:a/b", ["read", "write", "net", "env"]],
    ["rm", "hf:a/b", ["read", "write", "env"]],
  ] as const
) {
  const name = [command, ...(model === undefined ? [] : [model])].join(" ");
  Deno.test(`with all permissions given, ${name} keeps ${expected.join(", ")}`, async () => {
    assert.deepEqual(await left(command, model), expected);
  });
}

/** A cache that has hf:a/b. */
function makeCache(): string {
  const cache = Deno.makeTempDirSync();
  const snapshot = join(cache, "models--a--b/snapshots", "0".repeat(40));
  Deno.mkdirSync(snapshot, { recursive: true });
  const model = join(ROOT, "fixtures/models/tiny-llama-q8_0.gguf");
  Deno.copyFileSync(model, join(snapshot, "tiny-Q8_0.gguf"));
  return cache;
}

for (
  const [what, args] of [
    ["before a command runs", ["tokenize", "a"]],
    ["when it has a model of the hub", ["inspect", "-m", "hf:a/b"]],
    ["where a prompt is spelled like a model", ["tokenize", "hf:a/b"]],
  ] as const
) {
  Deno.test(`the program gives back the network ${what}`, async () => {
    const script = join(Deno.makeTempDirSync(), "program.ts");
    Deno.writeTextFileSync(
      script,
      `import { main } from ${JSON.stringify(join(ROOT, "cli/main.ts"))};
      await main(${JSON.stringify(args)});
      console.log("net", Deno.permissions.querySync({ name: "net" }).state);`,
    );
    const flags = [`--config=${join(ROOT, "deno.json")}`, "-A", "--no-prompt"];
    const { stdout, stderr } = await run(Deno.execPath(), ["run", ...flags, script], {
      env: { TVLLM_CACHE: makeCache() },
    });
    assert.match(stdout, /\bnet (prompt|denied)\n$/, stderr);
  });
}
