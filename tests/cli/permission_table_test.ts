/** One table of permissions, and its three readers: sh, Node.js and the program. */

import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import {
  commandOf,
  denoPackages,
  isNewEnough,
  modelCache,
  permissionFlags,
} from "../../cli/launcher.mjs";
import { denoFlags, grantsOf, parsePermissions, unionOf } from "../../cli/permissions.mjs";
import { ROOT, run, which } from "./run_tvllm.ts";

const TABLE = Deno.readTextFileSync(join(ROOT, "cli/permissions.txt"));
const ROWS = parsePermissions(TABLE);

Deno.test("parsePermissions() reads the table", () => {
  const text = "# comment\n\n* - - A,B -\npull yes cache C -\r\nrm - cache - no\nbench - yes - -\n";
  assert.deepEqual(parsePermissions(text), [
    { name: "*", net: false, write: "none", variables: ["A", "B"], opensModel: true },
    { name: "pull", net: true, write: "cache", variables: ["C"], opensModel: true },
    { name: "rm", net: false, write: "cache", variables: [], opensModel: false },
    { name: "bench", net: false, write: "all", variables: [], opensModel: true },
  ]);
});

Deno.test("every row of permissions.txt says something that its readers know", () => {
  assert.ok(ROWS.length > 5);
  for (const line of TABLE.split("\n").filter((line) => line !== "" && !line.startsWith("#"))) {
    assert.match(line, /^\S+ +(-|yes) +(-|cache|yes) +(-|[A-Z_]+(,[A-Z_]+)*) +(-|no)$/);
  }
  const names = ROWS.map(({ name }) => name);
  assert.deepEqual(names, [...new Set(names)]);
  // sh reads in order, and must know whether the command opens a model before it comes to those.
  const firstModel = names.findIndex((name) => /[:/]$/.test(name));
  assert.ok(names.slice(firstModel).every((name) => /[:/]$/.test(name)));
});

Deno.test("every command of permissions.txt is one of the program's, or will be", async () => {
  const { stdout } = await run("sh", [join(ROOT, "tvllm"), "--help"]);
  const commands = ROWS.map(({ name }) => name).filter((name) => /^[a-z]+$/.test(name));
  const planned = ["tune"];
  const unknown = commands.filter((name) => !new RegExp(`^  ${name} `, "m").test(stdout));
  assert.deepEqual(unknown.filter((name) => !planned.includes(name)), []);
});

Deno.test("grantsOf() adds up the rows of a command and of its models", () => {
  const none = () => false;
  assert.deepEqual(grantsOf(ROWS, "inspect", none), { ...unionOf(ROWS.slice(0, 1)) });
  const hub = grantsOf(ROWS, "bench", (prefix) => prefix === "hf:");
  assert.equal(hub.net, true);
  assert.equal(hub.write, "all");
  assert.ok(hub.variables.includes("HF_TOKEN"));
  assert.equal(grantsOf(ROWS, "rm", () => true).net, false);
  // No command, however it is spelled, is a model.
  assert.equal(grantsOf(ROWS, "hf:", none).net, false);
});

Deno.test("denoFlags() writes no directory that Deno would take for two", () => {
  const grants = { net: false, write: "cache", variables: ["A"] } as const;
  const start = ["--no-prompt", "--allow-read", "--ignore-env", "--allow-env=A"];
  assert.deepEqual(denoFlags(grants, "/a b"), [...start, "--allow-write=/a b"]);
  assert.deepEqual(denoFlags(grants, "/a,b"), [...start, "--allow-write"]);
  assert.deepEqual(denoFlags(grants, ""), start);
});

/** What the shell's grant() makes of each case: its flags, a line each, and an empty line. */
async function shellFlags(
  cases: readonly { readonly args: readonly string[]; readonly env: Record<string, string> }[],
): Promise<string[][]> {
  const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = cases.map(({ args, env }) => {
    const set = Object.entries(env).map(([name, value]) => `export ${name}=${quote(value)};`);
    return `(${set.join(" ")} . ./cli/launch.sh; grant ${args.map(quote).join(" ")} <"$0"
      printf '%s\\n' $permissions \${writable:+"--allow-write=$writable"} '')`;
  });
  const result = await run(which("sh")!, ["-euc", lines.join("\n"), "cli/permissions.txt"], {
    env: { HOME: "", XDG_CACHE_HOME: "" },
  });
  assert.equal(result.stderr, "");
  return result.stdout.split("\n\n").slice(0, -1).map((flags) => flags.split("\n"));
}

Deno.test({
  name: "the launchers grant the same for whatever arguments and variables",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const words = [
      ...ROWS.map(({ name }) => name),
      ...["generate", "inspect", "--color", "always", "-q", "-m", "--model", "a.gguf", "two words"],
      ...[
        "hf:a/b",
        "-mhf:a/b",
        "--model=hf.co/a/b",
        "xhf:a/b",
        "synth:tiny-llama",
        "-msynth:a",
        "",
      ],
      ...["*", "--", "-", "a\nhf:b", "it's"],
    ];
    const variables = ["HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "TVLLM_CACHE"];
    const values = fc.constantFrom("", "/a", "/with a space", "/with,comma");
    const model = fc.constantFrom("", "hf:a/b", "synth:x", "a.gguf", "rm");
    const env = fc.record(Object.fromEntries(variables.map((name) => [name, values])));
    const cases = fc.sample(
      fc.record({ args: fc.array(fc.constantFrom(...words), { maxLength: 5 }), env, model }),
      { numRuns: 300, seed: 1 },
    ).map(({ args, env, model }) => ({ args, env: { ...env, TVLLM_MODEL: model } }));
    const shell = await shellFlags(cases);
    assert.equal(shell.length, cases.length);
    for (const [i, { args, env }] of cases.entries()) {
      const said = permissionFlags(TABLE, args, env);
      const sorted = (flags: readonly string[]) => flags.flatMap((flag) => flag.split(" ")).sort();
      // A list of variables may name one twice in sh.
      const once = shell[i]!.map((flag) =>
        flag.startsWith("--allow-env=")
          ? `--allow-env=${[...new Set(flag.slice(12).split(","))].join(",")}`
          : flag
      );
      assert.deepEqual(sorted(once), sorted(said), JSON.stringify({ args, env }));
    }
  },
});

Deno.test("commandOf() is the first argument that is no option and no option's value", () => {
  assert.equal(commandOf([]), "");
  assert.equal(commandOf(["-q", "--color", "never", "bench", "latency"]), "bench");
  assert.equal(commandOf(["--color=never", "list"]), "list");
});

Deno.test("modelCache() is where the program has it, on Windows too", () => {
  const cache = (env: Record<string, string>) => modelCache(env).replaceAll("\\", "/");
  assert.equal(cache({}), "");
  assert.equal(cache({ USERPROFILE: "C:/Users/a" }), "C:/Users/a/.cache/huggingface/hub");
  assert.equal(cache({ HOME: "/h", XDG_CACHE_HOME: "/x" }), "/x/huggingface/hub");
  assert.equal(cache({ HF_HOME: "/f", HOME: "/h" }), "/f/hub");
  assert.equal(cache({ TVLLM_CACHE: "/t", HF_HUB_CACHE: "/u" }), "/t");
});

Deno.test("denoPackages() names npm's packages of Deno for each system", () => {
  assert.deepEqual(denoPackages("linux", "x64"), ["deno", "@deno/linux-x64-glibc"]);
  assert.deepEqual(denoPackages("win32", "x64"), ["deno", "@deno/win32-x64"]);
  assert.deepEqual(denoPackages("darwin", "arm64"), ["deno", "@deno/darwin-arm64"]);
});

Deno.test("isNewEnough() reads what deno --version prints", () => {
  for (const text of ["deno 2.9.0 (stable)", "deno 2.10.1", "deno 3.0.0"]) {
    assert.ok(isNewEnough(text), text);
  }
  for (const text of ["", "deno 2.8.9", "deno 1.46.3", "not a version", "deno x.y.z"]) {
    assert.ok(!isNewEnough(text), text);
  }
});
