import assert from "node:assert/strict";
import denoJson from "../../deno.json" with { type: "json" };
import { LAUNCHER, pipeTvllm, run, runTvllm } from "./run_tvllm.ts";

Deno.test("tvllm without a command shows three commands to try, in 80 columns", async () => {
  for (const args of [[], ["--color", "never", "-q"]]) {
    const { code, stdout, stderr } = await runTvllm(args);
    assert.equal(code, 0);
    assert.equal(stderr, "");
    assert.equal(stdout.match(/^ {2}tvllm /gm)?.length, 3);
    for (const line of stdout.split("\n")) assert.ok(line.length <= 80, line);
  }
  assert.equal((await pipeTvllm([], "true")).stderr, "");
});

Deno.test("an empty TVLLM_MODEL has no effect", async () => {
  const { code, stderr } = await runTvllm(["tokenize", "a"], { env: { TVLLM_MODEL: "" } });
  assert.equal(code, 0, stderr);
});

Deno.test("tvllm --version names tvllm, Deno and V8", async () => {
  const { code, stdout } = await runTvllm(["--version"]);
  assert.equal(code, 0);
  const { deno, v8 } = Deno.version;
  assert.equal(stdout, `tvllm ${denoJson.version} (Deno ${deno}, V8 ${v8})\n`);
});

Deno.test("tvllm --help and help COMMAND print to stdout and succeed", async () => {
  const all = await runTvllm(["--help"]);
  assert.equal(all.code, 0);
  assert.match(all.stdout, /^ {2}inspect /m);
  for (const args of [["help", "inspect"], ["inspect", "--help"]]) {
    const { code, stdout, stderr } = await runTvllm(args);
    assert.equal(code, 0);
    assert.equal(stderr, "");
    assert.match(stdout, /^Usage: tvllm inspect /);
    assert.match(stdout, /--color/);
  }
});

for (
  const [args, message] of [
    [["inspekt"], /unknown command 'inspekt' \(Did you mean inspect\?\); see tvllm --help$/],
    [
      ["inspect", "--jsn"],
      /unknown option '--jsn' \(Did you mean --json\?\); see tvllm inspect --help$/,
    ],
    [["inspect", "-m"], /option '-m, --model <spec>' argument missing; see tvllm inspect --help$/],
    [["inspect", "a", "b"], /too many arguments for 'inspect'.*; see tvllm inspect --help$/],
    [["--color", "red", "inspect"], /'red' is invalid; expected auto, always or never/],
  ] as const
) {
  Deno.test(`tvllm ${args.join(" ")} is a usage error on one line`, async () => {
    const { code, stdout, stderr } = await runTvllm(args);
    assert.equal(code, 2);
    assert.equal(stdout, "");
    const lines = stderr.split("\n");
    assert.equal(lines.length, 2);
    assert.match(lines[0]!, /^error: Cannot run the command: /);
    assert.match(lines[0]!, message);
  });
}

Deno.test("errors show a stack only with -v, before or after the command", async () => {
  const { code, stderr } = await runTvllm(["inspect", "/no/such.gguf"]);
  assert.equal(code, 3);
  assert.match(stderr, /^error: Cannot open \/no\/such\.gguf: .*\n$/);
  for (const args of [["-v", "inspect", "/no/such.gguf"], ["inspect", "/no/such.gguf", "-v"]]) {
    assert.match((await runTvllm(args)).stderr, /^ +at .*input_file\.ts/m);
  }
});

Deno.test("control characters of an argument do not reach the terminal", async () => {
  const { stderr } = await runTvllm(["inspect", "\x1b[31mred\n.gguf"]);
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(stderr.trimEnd(), /[\x00-\x1f]/);
});

Deno.test("--color always colours output to a pipe; auto and never do not", async () => {
  const args = ["inspect", "/no/such.gguf"];
  const red = "\x1b[31merror:\x1b[39m";
  const stderr = async (...more: Parameters<typeof runTvllm>) => (await runTvllm(...more)).stderr;
  assert.ok((await stderr(["--color", "always", ...args])).startsWith(red));
  assert.ok((await stderr(args, { env: { FORCE_COLOR: "1" } })).startsWith(red));
  assert.ok((await stderr(args)).startsWith("error:"));
  assert.ok((await stderr([...args, "--color=never"])).startsWith("error:"));
});

Deno.test({
  name: "output that cannot be written is an error",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const { code, stderr } = await run("sh", ["-c", 'sh "$0" --version >/dev/full', LAUNCHER]);
    assert.equal(code, 1);
    assert.match(stderr, /^error: Cannot write to standard output: .*\nUse -v to see where/);
  },
});
