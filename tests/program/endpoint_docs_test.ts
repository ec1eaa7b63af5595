/** Runs the documentation's commands for servers with tvllm's own server and small sizes. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { baseEnv, LAUNCHER, ROOT, run } from "./run_tvllm.ts";
import { withServer } from "./served.ts";

const PAGES = ["docs/bench/endpoint.md", "docs/generate.md"];

/** Options that are appended to the commands to shorten them. Of repeated ones, the last counts. */
const SMALL: Readonly<Record<string, readonly string[]>> = {
  bench: [
    ...["-p", "8", "-n", "2", "-r", "1", "--warmup", "0", "--requests", "2"],
    ...["--concurrency", "1,2", "--contexts", "8", "-q"],
  ],
  generate: ["-n", "2", "-q"],
};

/** The pages' commands that use a server, without duplicates. */
function commands(): string[] {
  const found = PAGES.flatMap((page) => {
    const text = Deno.readTextFileSync(join(ROOT, page)).replaceAll("\n  ", " ");
    return [...text.matchAll(/tvllm (?:bench|generate) [^`\n#]*--endpoint http[^`\n#]*/g)]
      .map(([command]) => command.trim());
  });
  return [...new Set(found)];
}

Deno.test("the commands of the documentation that use a server run", async () => {
  const found = commands();
  assert.ok(found.length >= 8, found.join("\n"));
  const directory = await Deno.makeTempDir();
  await Deno.writeTextFile(join(directory, "prompts.jsonl"), '{"prompt": "Hello"}\n');
  const program = { command: "sh", args: [LAUNCHER], env: baseEnv() };
  await withServer(program, ["--served-model", "NAME"], async ({ address }) => {
    for (const command of found) {
      // A chat needs a terminal; chat_test and generate_endpoint_test cover it.
      if (/^tvllm generate --endpoint \S+$/.test(command)) continue;
      const line = command.replace(/http:\/\/[\w-]+:\d+/, address);
      const small = SMALL[line.split(" ")[1]!]!;
      const script = `${line.replace(/^tvllm/, 'sh "$0"')} "$@"`;
      const { code, stdout, stderr } = await run("sh", ["-c", script, LAUNCHER, ...small], {
        cwd: directory,
      });
      assert.equal(code, 0, `${command}\n${stderr}`);
      assert.ok(stdout.length > 0, command);
    }
  });
});

Deno.test("bench load and --tokenizer report what they need", async () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [["load"], /Cannot run bench load without --endpoint: it measures a server/],
    [["latency", "--tokenizer", "x.gguf"], /Cannot use --tokenizer without --endpoint/],
    [
      ["latency", "--goodput", "ttft:5"],
      /Cannot use --goodput with bench latency: it is for bench load\n/,
    ],
    [["load", "--request-rate", "0"], /option '--request-rate <list>' .* Expected numbers above 0/],
    [["load", "--goodput", "itl:5"], /Expected limits in ms of ttft, tpot or e2el/],
    [
      ["latency", "--requests", "257"],
      /Cannot measure 257 requests: the limit is 256, except in bench load/,
    ],
    [["memory", "--endpoint", "http://127.0.0.1:9"], /use throughput, .* or load/],
    [
      ["speed", "--batch", "8", "--endpoint", "http://127.0.0.1:9"],
      /Cannot use --batch with --end/,
    ],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await run("sh", [LAUNCHER, "bench", ...args]);
    assert.equal(code, 2);
    assert.match(stderr, message);
  }
});

Deno.test("bench --tokenizer counts a server's tokens with a model's tokenizer", async () => {
  const program = { command: "sh", args: [LAUNCHER], env: baseEnv() };
  await withServer(program, [], async ({ address }) => {
    const { code, stdout, stderr } = await run("sh", [
      ...[LAUNCHER, "bench", "load", "--endpoint", address, "-o", "json", ...SMALL["bench"]!],
      ...["--tokenizer", "fixtures/builtin.gguf"],
    ]);
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(stdout).environment.endpoint.tokens, "local");
  });
});
