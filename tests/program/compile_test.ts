/** release/compile.ts if Deno's runtime cannot be downloaded, and with a runtime from a file. */

import assert from "node:assert/strict";
import { join } from "node:path";
import denoJson from "../../deno.json" with { type: "json" };
import { ROOT, run, type RunResult } from "./run_tvllm.ts";
import { ARM64, HEADERS, printingElf } from "../release/tiny_elf.ts";

/** Compiles a one-line program into a new directory. A missing proxy makes all downloads fail. */
async function compile(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<RunResult & { readonly left: string[] }> {
  const source = join(Deno.makeTempDirSync(), "bundle.js");
  Deno.writeTextFileSync(source, "console.log(1);\n");
  const directory = Deno.makeTempDirSync();
  const flags = ["--allow-read", `--allow-write=${directory}`, "--allow-env=DENORT_BIN"];
  const command = ["run", "--no-prompt", "--allow-run", ...flags, join(ROOT, "release/compile.ts")];
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

Deno.test("compile reports in one line that the runtime cannot be downloaded, and leaves no files", async () => {
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

Deno.test("compile refuses an unknown target, and names the known ones", async () => {
  const { code, stderr, left } = await compile(["--target", "sparc"]);
  assert.equal(code, 1);
  assert.match(stderr, /^error: Cannot compile for sparc: .*x86_64-pc-windows-msvc.*\n$/);
  assert.deepEqual(left, []);
});

/** Texts that identify denort: one of its error messages, and the user agent of its requests. */
const MARKS = `Could not find standalone binary section. Deno/${Deno.version.deno}`;

/** Writes a file that stands in for denort, which ends with `text`. Returns its path. */
function runtime(bytes: Uint8Array, text: string): string {
  const path = join(Deno.makeTempDirSync(), "denort");
  const marks = new TextEncoder().encode(text);
  Deno.writeFileSync(path, new Uint8Array([...bytes, ...marks]), { mode: 0o755 });
  return path;
}

for (
  const [what, header, marks, reason] of [
    ["is not an executable", "", MARKS, /it is not a Linux, macOS or Windows executable/],
    ["is for another system", "PE for x86-64", MARKS, /it is PE for x86-64, but the target/],
    ["is not denort", "ELF for x86-64", `Deno/${Deno.version.deno}`, /it is not denort/],
    ["is from another Deno", "ELF for x86-64", MARKS.replace(/\d+$/, "x"), /it is not from Deno/],
  ] as const
) {
  Deno.test(`compile refuses a DENORT_BIN that ${what}`, async () => {
    const DENORT_BIN = runtime(HEADERS[header] ?? new Uint8Array(), marks);
    const target = ["--target", "x86_64-unknown-linux-gnu"];
    const { code, stdout, stderr, left } = await compile(target, { DENORT_BIN });
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(stderr, /^error: Cannot compile for x86_64\S+ with DENORT_BIN=\S+: .*\n$/);
    assert.match(stderr, reason);
    assert.deepEqual(left, []);
  });
}

Deno.test("compile refuses Deno itself as the runtime, and a file that does not exist", async () => {
  for (const DENORT_BIN of [Deno.execPath(), "/no/such/denort"]) {
    const { code, stderr, left } = await compile([], { DENORT_BIN });
    assert.equal(code, 1);
    assert.match(stderr, /^error: Cannot compile for \S+ with DENORT_BIN=\S+: .*\n$/);
    assert.deepEqual(left, []);
  }
});

const onLinux = { ignore: Deno.build.target !== "x86_64-unknown-linux-gnu" };

Deno.test({
  name: "compile starts the program that it made, and reports its contents",
  ...onLinux,
  fn: async () => {
    const said = `tvllm ${denoJson.version} (Deno ${Deno.version.deno}, V8 1)\n`;
    const DENORT_BIN = runtime(printingElf(said), MARKS);
    const { code, stdout, stderr, left } = await compile([], { DENORT_BIN });
    assert.equal(code, 0, stderr);
    const [program] = left;
    assert.equal(program, `tvllm-${Deno.build.target}`);
    assert.match(
      stdout,
      /\/tvllm-\S+: [\d.]+ MB, with the runtime of Deno [\d.]+ and tvllm .*\(0\.0 MB\); it starts\n$/,
    );
  },
});

Deno.test({
  name: "compile removes a program that does not identify itself as tvllm",
  ...onLinux,
  fn: async () => {
    const DENORT_BIN = runtime(printingElf("something else\n"), MARKS);
    const { code, stdout, stderr, left } = await compile([], { DENORT_BIN });
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(
      stderr,
      /^error: Cannot use the compiled program: .* prints "something else" instead .*\n$/,
    );
    assert.deepEqual(left, []);
  },
});

Deno.test({
  name: "compile does not start a program for another system",
  ...onLinux,
  fn: async () => {
    const DENORT_BIN = runtime(printingElf("unread", ARM64), MARKS);
    const target = "aarch64-unknown-linux-gnu";
    const { code, stdout, stderr, left } = await compile(["--target", target], { DENORT_BIN });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /; not tested, because it is for another system\n$/);
    assert.deepEqual(left, [`tvllm-${target}`]);
  },
});
