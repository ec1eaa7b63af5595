import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT, run } from "./run_tvllm.ts";

/** The permissions that remain of all permissions once `command` has started. */
async function left(command: string, model?: string, option?: string): Promise<string[]> {
  const program = join(Deno.makeTempDirSync(), "program.ts");
  Deno.writeTextFileSync(
    program,
    `import { dropPermissions } from ${JSON.stringify(join(ROOT, "cli/permissions.ts"))};
    dropPermissions(${JSON.stringify(command)}, [${JSON.stringify(model)}], [${
      JSON.stringify(option)
    }]);
    const names = ["read", "write", "net", "env", "run", "sys", "ffi"];
    console.log(names.filter((name) =>
      Deno.permissions.querySync({ name }).state === "granted").join());`,
  );
  const { stdout, stderr } = await run(Deno.execPath(), ["run", "-A", "--no-prompt", program]);
  assert.equal(stderr, "");
  return stdout.trim().split(",");
}

for (
  const [command, model, expected, option] of [
    ["tokenize", "a.gguf", ["read", "env"]],
    // A chat opens the file of saved chats; then write access is dropped.
    ["generate", "a.gguf", ["read", "write", "env"]],
    ["tokenize", "hf:a/b", ["read", "write", "net", "env"]],
    ["bench", undefined, ["read", "write", "env"]],
    ["bench", undefined, ["read", "write", "env", "run"], "--against"],
    ["tokenize", undefined, ["read", "env"], "--against"],
    ["pull", "hf:a/b", ["read", "write", "net", "env"]],
    ["rm", "hf:a/b", ["read", "write", "env"]],
  ] as const
) {
  const name = [command, model ?? [], option ?? []].flat().join(" ");
  Deno.test(`with all permissions granted, ${name} keeps ${expected.join(", ")}`, async () => {
    assert.deepEqual(await left(command, model, option), expected);
  });
}

/** Creates a cache that contains hf:a/b. */
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
    ["once it has a model of the hub", ["inspect", "-m", "hf:a/b"]],
    ["if a prompt is spelled like a model", ["tokenize", "hf:a/b"]],
  ] as const
) {
  Deno.test(`the program drops network access ${what}`, async () => {
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

for (
  const [what, args, code] of [
    ["an ordinary one", ["inspect"], 0],
    ["one that answers", ["generate", "hi", "-n", "2", "--device", "cpu"], 0],
    ["a damaged one", ["inspect"], 4],
    ["a damaged one to measure", ["bench", "memory", "--json", "report.json"], 4],
  ] as const
) {
  Deno.test(`the program can neither write nor reach the network once a model is open: ${what}`, async () => {
    const directory = Deno.makeTempDirSync();
    const script = join(directory, "program.ts");
    const model = join(directory, "model.gguf");
    const bytes = Deno.readFileSync(join(ROOT, "fixtures/models/tiny-llama-q8_0.gguf"));
    Deno.writeFileSync(model, code === 0 ? bytes : bytes.subarray(0, 1000));
    Deno.writeTextFileSync(
      script,
      `import { main } from ${JSON.stringify(join(ROOT, "cli/main.ts"))};
      Deno.chdir(${JSON.stringify(directory)});
      const code = await main(${JSON.stringify([...args, "-m", model])});
      const state = (name) => Deno.permissions.querySync({ name }).state;
      console.log("\\n" + JSON.stringify([code, state("write"), state("net")]));`,
    );
    const flags = [`--config=${join(ROOT, "deno.json")}`, "-A", "--no-prompt"];
    const { stdout, stderr } = await run(Deno.execPath(), ["run", ...flags, script]);
    const [last] = stdout.trimEnd().split("\n").slice(-1);
    assert.deepEqual(JSON.parse(last!), [code, "prompt", "prompt"], stderr);
  });
}

Deno.test("a command that uses no hub drops access to the hub's token", async () => {
  const script = join(Deno.makeTempDirSync(), "program.ts");
  Deno.writeTextFileSync(
    script,
    `import { dropPermissions } from ${JSON.stringify(join(ROOT, "cli/permissions.ts"))};
    const states = () => ["HF_TOKEN", "TERM"].map((variable) =>
      Deno.permissions.querySync({ name: "env", variable }).state);
    dropPermissions("pull");
    console.log(states().join());
    dropPermissions("generate", ["a.gguf"]);
    console.log(states().join());`,
  );
  const flags = ["--no-prompt", "--allow-env=HF_TOKEN,HF_ENDPOINT,HF_HUB_OFFLINE,TERM"];
  const { stdout, stderr } = await run(Deno.execPath(), ["run", ...flags, script]);
  assert.equal(stdout, "granted,granted\nprompt,granted\n", stderr);
});
