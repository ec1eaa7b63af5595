/** release/compile.ts where Deno's runtime cannot be downloaded, and with one that is at hand. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT, run, type RunResult, which } from "./run_tvllm.ts";

/** Compiles a one-line program into a new directory, with no network but a proxy that is not there. */
async function compile(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<RunResult & { readonly left: string[] }> {
  const source = join(Deno.makeTempDirSync(), "bundle.js");
  Deno.writeTextFileSync(source, "console.log(1);\n");
  const directory = Deno.makeTempDirSync();
  const command = ["run", "--no-prompt", "--allow-run", join(ROOT, "release/compile.ts")];
  const result = await run(Deno.execPath(), [...command, source, directory, ...args], {
    env: {
      DENO_DIR: Deno.makeTempDirSync(),
      HTTPS_PROXY: "http://127.0.0.1:9",
      NO_COLOR: "1",
      ...env,
    },
  });
  return { ...result, left: [...Deno.readDirSync(directory)].map(({ name }) => name) };
}

Deno.test("compile says in one line that the runtime cannot be had, and leaves nothing", async () => {
  for (const args of [[], ["--target", "aarch64-apple-darwin"], ["--target", "all"]]) {
    const { code, stdout, stderr, left } = await compile(args);
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(
      stderr,
      /^error: Cannot compile for [\w-]+: its runtime cannot be downloaded from https:\S+\.zip; .*\n$/,
    );
    assert.deepEqual(left, []);
  }
});

Deno.test("compile refuses a target that it does not know, and names those it does", async () => {
  const { code, stderr, left } = await compile(["--target", "sparc"]);
  assert.equal(code, 1);
  assert.match(stderr, /^error: Cannot compile for sparc: .*x86_64-pc-windows-msvc.*\n$/);
  assert.deepEqual(left, []);
});

Deno.test({
  name: "compile names the program that it made",
  ignore: Deno.build.os !== "linux", // there any program will do for the runtime
  fn: async () => {
    const { code, stdout, left } = await compile([], { DENORT_BIN: which("true")! });
    assert.equal(code, 0);
    assert.deepEqual(left, [`tvllm-${Deno.build.target}`]);
    assert.ok(stdout.endsWith(`tvllm-${Deno.build.target}\n`), stdout);
  },
});

Deno.test("a compiled program sees the variables that the launcher lets tvllm see", () => {
  const launcher = Deno.readTextFileSync(join(ROOT, "tvllm"));
  const lists = [...launcher.matchAll(/environment=(?:\$environment,)?([A-Z_,]+)/g)];
  const names = lists.flatMap((match) => match[1]!.split(","));
  assert.ok(names.length > 5);
  const compile = Deno.readTextFileSync(join(ROOT, "release/compile.ts"));
  assert.deepEqual(names.filter((name) => !compile.includes(`"${name}"`)), []);
});
