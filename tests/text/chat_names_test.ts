/** Compares the named templates with those of the models that they are named after. */

import assert from "node:assert/strict";
import { NAMED_TEMPLATES } from "../../engine/text/chat_names.ts";
import { type ChatMessage, renderChat } from "../../engine/text/chat_template.ts";
import zephyrConfig from "../../fixtures/tinyllama_chat.json" with { type: "json" };
import { smollm2Metadata } from "./vocabularies.ts";

const TURNS: readonly ChatMessage[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "  Hi\n" },
  { role: "assistant", content: "Hello." },
  { role: "user", content: "Who are you?" },
];

/** Renders the chat with the template `name`. */
function render(name: string, messages = TURNS): string {
  const options = { bosToken: "<s>", eosToken: "</s>" };
  return renderChat(NAMED_TEMPLATES.get(name)!, messages, options);
}

Deno.test("llama3 puts a header before each message, and an end token after it", () => {
  const header = (role: string) => `<|start_header_id|>${role}<|end_header_id|>\n\n`;
  assert.equal(
    render("llama3"),
    `<s>${header("system")}Be brief.<|eot_id|>${header("user")}Hi<|eot_id|>` +
      `${header("assistant")}Hello.<|eot_id|>${header("user")}Who are you?<|eot_id|>` +
      header("assistant"),
  );
});

Deno.test("zephyr renders like TinyLlama's own template", () => {
  for (const messages of [TURNS, TURNS.slice(1), TURNS.slice(1, 2)]) {
    const own = renderChat(zephyrConfig.chat_template, messages, { eosToken: "</s>" });
    assert.equal(render("zephyr", messages), own);
  }
});

Deno.test("chatml renders like SmolLM2's own template if there is a system message", async () => {
  const own = String((await smollm2Metadata()).get("tokenizer.chat_template"));
  assert.equal(render("chatml"), renderChat(own, TURNS));
});

Deno.test("llama2 puts the system message into the first turn, and BOS and EOS around each exchange", () => {
  assert.equal(
    render("llama2"),
    "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n  Hi [/INST] Hello. </s><s>[INST] Who are you? [/INST]",
  );
});
