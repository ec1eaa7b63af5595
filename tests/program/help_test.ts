/** `tvllm help TOPIC` fits on a terminal, and is correct. */

import assert from "node:assert/strict";
import { SUITES } from "../../bench/suites/mod.ts";
import { runTvllm } from "./run_tvllm.ts";

const TOPICS = ["models", "sampling", "bench", "metrics", "devices"];

async function printed(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTvllm(args);
  assert.equal(code, 0, stderr);
  assert.equal(stderr, "");
  return stdout;
}

Deno.test("tvllm help TOPIC fits 80 columns, and names only options and commands that exist", async () => {
  const commands = await printed("--help");
  const known = (await Promise.all(
    ["generate", "bench", "devices", "perplexity"].map((name) => printed(name, "--help")),
  )).join() + commands;
  for (const topic of TOPICS) {
    const text = await printed("help", topic);
    assert.match(text, new RegExp(`^${topic.toUpperCase()}\n`));
    for (const line of text.split("\n")) assert.ok(line.length <= 80, line);
    for (const [option] of text.matchAll(/(?<![\w-])--?[a-z][a-z-]*/g)) {
      assert.match(known, new RegExp(`(^|[ ,])${option}\\b`, "m"), `${topic} names ${option}`);
    }
    for (const [, command] of text.matchAll(/tvllm ([a-z]+)/g)) {
      assert.match(commands, new RegExp(`^ {2}${command} `, "m"), `${topic} names ${command}`);
    }
  }
});

Deno.test("tvllm help sampling has the defaults of tvllm generate", async () => {
  const options = (await printed("generate", "--help")).replaceAll(/\n {10,}/g, " ");
  const text = (await printed("help", "sampling")).replaceAll(/\n {10,}/g, " ");
  for (const option of ["--top-k", "--top-p", "--min-p", "--temp"]) {
    const [, value] = new RegExp(`${option} .*default: ([\\d.]+)`).exec(options)!;
    assert.match(text, new RegExp(`${option} .*Default ${value}\n`));
  }
});

Deno.test("tvllm help bench explains every suite", async () => {
  const text = await printed("help", "bench");
  const named = [...text.matchAll(/^ {4}([a-z-]+) {2,}\S/gm)].map((match) => match[1]!);
  for (const suite of [...SUITES.map(({ name }) => name), "all"]) {
    assert.ok(named.includes(suite), suite);
  }
});

Deno.test("tvllm help lists the topics if it does not know the given one", async () => {
  const { code, stdout, stderr } = await runTvllm(["help", "nonsense"]);
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /^error: Cannot explain nonsense: the topics are models, .*\n$/);
  const all = await printed("help");
  assert.match(all, /^Usage: tvllm /);
  assert.match(
    all,
    /help \[topic\] +explain a topic \(models, sampling, bench, metrics,\s+devices\)/,
  );
});
