import { Command, CommanderError, InvalidArgumentError } from "@commander-js/extra-typings";
import assert from "node:assert/strict";
import {
  addDeviceOptions,
  addPromptOptions,
  addSamplingOptions,
  decimal,
  integer,
  logitBiases,
  toGenerateOptions,
} from "../../cli/options.ts";
import { DEFAULT_SAMPLING } from "../../engine/run/defaults.ts";

Deno.test("integer() accepts decimal integers within its range", () => {
  const parse = integer(-1, 10);
  assert.deepEqual(["-1", "0", "+7", "010", "10"].map(parse), [-1, 0, 7, 10, 10]);
  for (const text of ["", " 1", "1.0", "1e1", "0x1", "11", "-2", "NaN", "Infinity", "١"]) {
    assert.throws(() => parse(text), InvalidArgumentError, text);
  }
});

Deno.test("decimal() accepts decimal numbers within its range", () => {
  const parse = decimal(0, 1);
  assert.deepEqual(["0", "1", ".5", "5e-1", "0.25", "1."].map(parse), [0, 1, 0.5, 0.5, 0.25, 1]);
  for (const text of ["", ".", "1.1", "-0.1", "NaN", "Infinity", "0x1", "1,0", "1e999"]) {
    assert.throws(() => parse(text), InvalidArgumentError, text);
  }
});

Deno.test("logitBiases() collects ID=BIAS pairs", () => {
  const biases = logitBiases("42=-1.5", logitBiases("7=100"));
  assert.deepEqual([...biases], [[7, 100], [42, -1.5]]);
  for (const text of ["", "42", "=1", "x=1", "1=x", "1=Infinity", "4294967296=1", "-1=1"]) {
    assert.throws(() => logitBiases(text), InvalidArgumentError, text);
  }
});

/** Parses arguments with all shared options. Errors are thrown instead of printed. */
function parse(...args: string[]) {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  return addSamplingOptions(addDeviceOptions(addPromptOptions(command)))
    .parse(args, { from: "user" }).opts();
}

Deno.test("shared options have their defaults", () => {
  assert.deepEqual(parse(), {
    kvType: "f16",
    temp: 0.8,
    topK: 40,
    topP: 0.95,
    minP: 0.05,
    repeatPenalty: 1,
  });
});

Deno.test("toGenerateOptions() passes every option on, and draws a seed if none is given", () => {
  const given = parse(
    ...["--temp", "0", "--top-k", "0", "--top-p", "1", "--min-p", "0", "--repeat-penalty", "1.1"],
    ...["--seed", "4294967295", "--logit-bias", "3=-100", "--logit-bias", "4=1"],
    ...["-s", "Be brief.", "-n", "9", "--stop", "x", "--chat-template", "chatml"],
  );
  assert.deepEqual(toGenerateOptions(given), {
    temperature: 0,
    topK: 0,
    topP: 1,
    minP: 0,
    repeatPenalty: 1.1,
    seed: 4294967295,
    logitBias: new Map([[3, -100], [4, 1]]),
    system: "Be brief.",
    maxTokens: 9,
    stop: ["x"],
    chatTemplate: "chatml",
  });
  assert.equal(toGenerateOptions(parse("--raw")).raw, true);
  const penalties = [
    "--presence-penalty",
    "1",
    "--frequency-penalty",
    "-.5",
    "--repeat-last-n",
    "9",
  ];
  const { presencePenalty, frequencyPenalty, repeatWindow } = toGenerateOptions(
    parse(...penalties),
  );
  assert.deepEqual([presencePenalty, frequencyPenalty, repeatWindow], [1, -0.5, 9]);
  const escaped = toGenerateOptions(parse("-e", "--stop", "a\\n\\x41\\\\n", "-s", "\\xc3\\xa9\\q"));
  assert.deepEqual([escaped.stop, escaped.system], [["a\nA\\n"], "é\\q"]);
  assert.deepEqual(toGenerateOptions(parse("--stop", "a\\n")).stop, ["a\\n"]);
  assert.throws(() => toGenerateOptions(parse("-e", "--stop", "\\xff")), /not UTF-8/);
  const kwargs = '{"tools": null, "enable_thinking": true}';
  const variables = (...args: string[]) => toGenerateOptions(parse(...args)).templateVariables;
  assert.deepEqual(variables("--think"), { enable_thinking: true });
  assert.deepEqual(variables("--chat-template-kwargs", kwargs, "--no-think"), {
    tools: null,
    enable_thinking: false,
  });
  const { seed: _, ...rest } = toGenerateOptions(parse());
  assert.deepEqual(rest, DEFAULT_SAMPLING);
  const seeds = new Set(Array.from({ length: 8 }, () => toGenerateOptions(parse()).seed));
  assert.ok(seeds.size > 1);
});

for (
  const [option, value] of [
    ["--temp", "warm"],
    ["--temp", "-1"],
    ["--top-k", "-1"],
    ["--top-p", "1.5"],
    ["--min-p", "2"],
    ["--repeat-penalty", "0"],
    ["--seed", "4294967296"],
    ["--max-tokens", "-1"],
    ["--ctx-size", "0"],
    ["--kv-type", "f8"],
    ["--device", "npu"],
    ["--backend", "opengl"],
    ["--stop", ""],
    ["--presence-penalty", "2.1"],
    ["--repeat-last-n", "1025"],
    ["--chat-template-kwargs", "{"],
    ["--chat-template-kwargs", "[1]"],
    ["--chat-template-kwargs", '{"messages": []}'],
  ] as const
) {
  Deno.test(`${option} '${value}' is refused with an error that names both`, () => {
    assert.throws(
      () => parse(option, value),
      (error) =>
        error instanceof CommanderError && error.message.includes(option) &&
        error.message.includes(`'${value}'`) &&
        /Expected|Allowed|sets messages itself/.test(error.message),
    );
  });
}

Deno.test("--stop collects texts, and a value may start with a dash", () => {
  assert.deepEqual(parse("--stop", "\n", "--stop", "-q"), {
    ...parse(),
    stop: ["\n", "-q"],
  });
});
