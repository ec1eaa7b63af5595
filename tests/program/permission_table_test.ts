/** The table of permissions, as the launchers in sh and for Node.js and the program use it. */

import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { permissionFlags } from "../../cli/launcher.mjs";
import { parsePermissions } from "../../cli/permissions.mjs";
import { ROOT, run, which } from "./run_tvllm.ts";

const TABLE = Deno.readTextFileSync(join(ROOT, "cli/permissions.txt"));
const ROWS = parsePermissions(TABLE);

Deno.test("every command of permissions.txt is one of the program's", async () => {
  const { stdout } = await run("sh", [join(ROOT, "tvllm"), "--help"]);
  const commands = ROWS.map(({ name }) => name).filter((name) => /^[a-z]+$/.test(name));
  const hidden = ["complete"];
  const unknown = commands.filter((name) => !new RegExp(`^  ${name} `, "m").test(stdout));
  assert.deepEqual(unknown.filter((name) => !hidden.includes(name)), []);
});

/** Returns the flags that the shell launcher's grant() sets for each case. */
async function shellFlags(
  cases: readonly { readonly args: readonly string[]; readonly env: Record<string, string> }[],
  deno: string,
): Promise<string[][]> {
  const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = cases.map(({ args, env }) => {
    const set = Object.entries(env).map(([name, value]) => `export ${name}=${quote(value)};`);
    return `(${set.join(" ")} . ./cli/launch.sh; grant ${args.map(quote).join(" ")} <"$0"
      printf '%s\\n' $permissions \${writable:+"--allow-write=$writable"} \\
        \${runnable:+"--allow-run=$runnable"} '')`;
  });
  const result = await run(which("sh")!, ["-euc", lines.join("\n"), "cli/permissions.txt"], {
    env: { HOME: "", XDG_CACHE_HOME: "", DENO: deno },
  });
  assert.equal(result.stderr, "");
  return result.stdout.split("\n\n").slice(0, -1).map((flags) => flags.split("\n"));
}

Deno.test({
  name: "the launchers grant the same permissions for any arguments and variables",
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
      ...["*", "--", "-", "a\nhf:b", "it's", "--against", "--against=x", "x--against"],
    ];
    const variables = [
      ...["HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "TVLLM_CACHE"],
      ...["XDG_DATA_HOME", "TVLLM_DATA"],
    ];
    const values = fc.constantFrom("", "/a", "/with a space", "/with,comma");
    const model = fc.constantFrom("", "hf:a/b", "synth:x", "a.gguf", "rm");
    const env = fc.record(Object.fromEntries(variables.map((name) => [name, values])));
    const cases = fc.sample(
      fc.record({ args: fc.array(fc.constantFrom(...words), { maxLength: 5 }), env, model }),
      { numRuns: 300, seed: 1 },
    ).map(({ args, env, model }) => ({ args, env: { ...env, TVLLM_MODEL: model } }));
    const deno = "/bin/deno";
    const shell = await shellFlags(cases, deno);
    assert.equal(shell.length, cases.length);
    const withComma = "/a,b/deno";
    const against = [{ args: ["bench", "ab", "--against", "x"], env: {} }];
    const [flags] = await shellFlags(against, withComma);
    assert.deepEqual(flags!.filter((flag) => flag.startsWith("--allow-run")), ["--allow-run"]);
    for (const [i, { args, env }] of cases.entries()) {
      const said = permissionFlags(TABLE, args, { env, deno });
      const sorted = (flags: readonly string[]) => flags.flatMap((flag) => flag.split(" ")).sort();
      // The shell launcher may list a variable twice.
      const once = shell[i]!.map((flag) =>
        flag.startsWith("--allow-env=")
          ? `--allow-env=${[...new Set(flag.slice(12).split(","))].join(",")}`
          : flag
      );
      assert.deepEqual(sorted(once), sorted(said), JSON.stringify({ args, env }));
    }
  },
});
