/** encodePrompt(): template, BOS and the context's limit, with and without a chat template. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { ModelFormatError, RequestError } from "../../engine/errors.ts";
import {
  checkPromptOptions,
  encodePrompt,
  encodeText,
  type PromptOptions,
  type PromptTarget,
} from "../../engine/prompt.ts";
import { CHATML_TEMPLATE, chatTemplate, encodeChat } from "../../engine/text/chat_prompt.ts";
import { smollm2, smollm2Metadata, spm } from "../text/vocabularies.ts";

const BOS = 1;
const llama = spm();
const smol = await smollm2();
const smolTemplate = chatTemplate(await smollm2Metadata(), smol)!;

/** A model with a SentencePiece vocabulary that begins texts with BOS, and without a template. */
const stories: PromptTarget = {
  tokenizer: llama,
  chatTemplate: undefined,
  contextLength: 64,
  config: { contextLength: 256 },
};
/** A chat model, whose texts do not begin with BOS. */
const chats: PromptTarget = {
  tokenizer: smol,
  chatTemplate: smolTemplate,
  contextLength: 512,
  config: { contextLength: 512 },
};

const user = (content: string) => ({ role: "user", content });

Deno.test("encodePrompt() with a template accepts messages, or a text as a user's message", () => {
  const { ids, continues } = encodePrompt(chats, "Hi");
  assert.equal(continues, false);
  assert.deepEqual(ids, encodeChat(smol, [user("Hi")], { template: smolTemplate }));
  assert.deepEqual(encodePrompt(chats, [user("Hi")]).ids, ids);
  const system = encodePrompt(chats, "Hi", { system: "Be brief." }).ids;
  const messages = [{ role: "system", content: "Be brief." }, user("Hi")];
  assert.deepEqual(system, encodeChat(smol, messages, { template: smolTemplate }));
  assert.deepEqual(encodePrompt(chats, messages).ids, system);
});

Deno.test("encodePrompt() encodes the text itself if there is no template, or none is wanted", () => {
  assert.deepEqual(encodePrompt(stories, "Hi there"), {
    ids: [BOS, ...llama.encode("Hi there")],
    continues: true,
  });
  assert.deepEqual(encodePrompt(chats, "Hi there", { raw: true }), {
    ids: smol.encode("Hi there"),
    continues: true,
  });
  const both = encodePrompt(stories, "Once", { system: "A tale." }).ids;
  assert.deepEqual(both, [BOS, ...llama.encode("A tale.\n\nOnce")]);
  const messages = [user("A"), { role: "assistant", content: "B" }];
  assert.deepEqual(encodePrompt(stories, messages).ids, [BOS, ...llama.encode("A\n\nB")]);
});

Deno.test("encodePrompt() encodes control tokens that a prompt spells out as plain text", () => {
  const text = "</s><s> <|im_end|>";
  for (const options of [{}, { raw: true }, { chatTemplate: "chatml" }]) {
    const { ids } = encodePrompt(stories, text, options);
    assert.ok(ids.slice(1).every((id) => id > 2), JSON.stringify(options));
    const decoded = llama.decode(ids.slice(1));
    assert.ok(decoded.includes(text), decoded);
  }
});

Deno.test("encodePrompt() puts BOS in front once, if the model expects it", () => {
  const body = "[INST] {{ messages[0].content }} [/INST]";
  const expected = [BOS, ...llama.encode("[INST] Hi <s> [/INST]")];
  for (const chatTemplate of [body, `{{ bos_token }}${body}`]) {
    assert.deepEqual(encodePrompt(stories, "Hi <s>", { chatTemplate }).ids, expected);
  }
  assert.ok(!smol.addBos);
  assert.notEqual(encodePrompt(chats, "Hi", { raw: true }).ids[0], smol.bosId);
});

Deno.test("encodePrompt() begins an empty prompt with BOS, even if texts do not begin with it", () => {
  for (const target of [stories, chats]) {
    const { ids } = encodePrompt(target, "", { raw: true });
    assert.deepEqual(ids, [target.tokenizer.bosId]);
  }
  const none = { ...stories, tokenizer: Object.assign(spm(), { bosId: undefined }) };
  assert.throws(() => encodePrompt(none, ""), /^RequestError: Cannot continue an empty prompt/);
});

Deno.test("encodeText() returns a text's own tokens, with BOS and control tokens on request", () => {
  assert.deepEqual(encodeText(llama, "Hi"), llama.encode("Hi"));
  assert.deepEqual(encodeText(llama, "Hi", { bos: true }), [BOS, ...llama.encode("Hi")]);
  assert.deepEqual(encodeText(smol, "Hi", { bos: true }), smol.encode("Hi"));
  assert.deepEqual(encodeText(smol, "<|im_end|>", { special: true }), [2]);
});

Deno.test("encodePrompt() refuses a prompt that leaves no room for an answer, and names the limit", () => {
  const words = (count: number) => "a ".repeat(count).trim();
  const most = encodePrompt(stories, words(62)).ids.length;
  assert.equal(most, 63);
  const refused = (target: PromptTarget, message: RegExp) =>
    assert.throws(() => encodePrompt(target, words(63)), (error) => {
      assert.ok(error instanceof RequestError);
      assert.equal(error.kind, "too-long");
      assert.match(error.message, message);
      return true;
    });
  refused(
    stories,
    /^Cannot answer a prompt of 64 tokens: the context has room for 64, at least one of them for the answer; shorten it, or raise .* at most 256$/,
  );
  refused(
    { ...stories, config: { contextLength: 64 } },
    /room for 64, at least one of them for the answer; shorten it$/,
  );
});

const AT_ODDS: readonly [string, PromptOptions, RegExp][] = [
  ["a system message", { raw: true, system: "x" }, /Cannot use a system message with a raw prompt/],
  ["a template", { raw: true, chatTemplate: "chatml" }, /Cannot use a chat template with a raw/],
  [
    "an unknown name",
    { chatTemplate: "mistral" },
    /'mistral': it is neither one of chatml, llama2, /,
  ],
  ["invalid Jinja", { chatTemplate: "{% if %}" }, /Cannot render the chat template: /],
];
for (const [what, options, message] of AT_ODDS) {
  Deno.test(`encodePrompt() and checkPromptOptions() refuse ${what} that cannot be used`, () => {
    for (
      const act of [() => encodePrompt(chats, "Hi", options), () => checkPromptOptions(options)]
    ) {
      assert.throws(act, (error) => {
        assert.ok(error instanceof RequestError && error.kind === "invalid");
        assert.match(error.message, message);
        return true;
      });
    }
  });
}

Deno.test("checkPromptOptions() accepts options that only a model or messages can prove wrong", () => {
  for (const options of [{}, { raw: true }, { system: "x" }, { chatTemplate: "llama3" }]) {
    checkPromptOptions(options);
  }
  checkPromptOptions({ chatTemplate: "{{ raise_exception('no user may begin') }}" });
});

Deno.test("encodePrompt() distinguishes a failing template of the model from messages that it refuses", () => {
  const failing = { ...chats, chatTemplate: "{{ fetch('x') }}" };
  assert.throws(() => encodePrompt(failing, "Hi"), ModelFormatError);
  const refusing = { ...chats, chatTemplate: "{{ raise_exception('users first') }}" };
  assert.throws(() => encodePrompt(refusing, "Hi"), /^RequestError: .*users first$/);
  assert.throws(() => encodePrompt(chats, []), /^RequestError: .*pass at least one$/);
});

Deno.test("encodePrompt() passes variables to the template", () => {
  const chatTemplate = "{{ messages[0].content }}{% if enable_thinking %} think{% endif %}";
  const ids = (templateVariables: Record<string, unknown>) =>
    encodePrompt(chats, "Hi", { chatTemplate, templateVariables }).ids;
  assert.deepEqual(ids({ enable_thinking: true }), smol.encode("Hi think"));
  assert.deepEqual(ids({ enable_thinking: false }), smol.encode("Hi"));
});

Deno.test("encodePrompt() refuses variables that are no JSON values", () => {
  const cyclic: Record<string, unknown> = {};
  cyclic["x"] = cyclic;
  let deep: unknown = 1;
  for (let i = 0; i < 50_000; i++) deep = [deep];
  for (const templateVariables of [{ x: 5n }, cyclic, { deep }]) {
    assert.throws(() => encodePrompt(chats, "Hi", { templateVariables }), {
      name: "RequestError",
      message: /^Cannot encode the messages: they or the template variables are no JSON .*[a-z]$/i,
    });
  }
});

Deno.test("encodePrompt() without a template returns the same ids for a text and for one message", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 20 }), (text) => {
      for (const raw of [false, true]) {
        const one = encodePrompt(stories, [user(text)], { raw });
        assert.deepEqual(encodePrompt(stories, text, { raw }), one);
        assert.deepEqual(one.ids, [BOS, ...llama.encode(text)]);
      }
    }),
    { seed: 3, numRuns: 300 },
  );
});

Deno.test("encodePrompt() renders ChatML if the vocabulary has its tokens and the model has no template", async () => {
  const metadata = await smollm2Metadata();
  metadata.delete("tokenizer.chat_template");
  const template = chatTemplate(metadata, smol);
  assert.equal(template, CHATML_TEMPLATE);
  const { ids } = encodePrompt({ ...chats, chatTemplate: template }, "Hi");
  assert.equal(
    smol.decode(ids, { special: true }),
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
  );
});

Deno.test("encodePrompt() names the file whose template fails", () => {
  const file = { paths: ["/models/$& the chat template x\n.gguf"] };
  const broken = { ...chats, chatTemplate: "{{ 1|nothing }}", file };
  assert.throws(() => encodePrompt(broken, "Hi"), (error) => {
    assert.ok(error instanceof ModelFormatError);
    const name = "/models/$& the chat template x\\u{a}.gguf";
    assert.ok(error.message.startsWith(`Cannot render the chat template of ${name}: `));
    return true;
  });
});
