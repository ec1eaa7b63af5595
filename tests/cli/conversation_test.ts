import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { RequestError } from "../../engine/errors.ts";
import { Conversation } from "../../cli/conversation.ts";
import { loadModel, type Model, openGguf } from "../../engine/mod.ts";
import { BLOCK_TOKENS } from "../../engine/run/runner.ts";

const FILE = fileURLToPath(new URL("../../fixtures/builtin.gguf", import.meta.url));
const OPTIONS = { temperature: 0, seed: 1 };

/** Runs `body` with the built-in model, which was not trained on chats. */
async function withModel(body: (model: Model) => Promise<void>) {
  await using model = await loadModel(openGguf(FILE), { device: "cpu", maxSequences: 1 });
  await body(model);
}

/** Runs one turn. Returns the text and token count of its prompt, and the text of its answer. */
async function turn(conversation: Conversation<Model>, text: string) {
  const { tokenizer } = conversation.model;
  const answer = conversation.ask(text, OPTIONS);
  const { text: answered } = await answer.complete();
  conversation.answered(answered);
  const { promptIds } = answer;
  return { prompt: tokenizer.decode(promptIds), tokens: promptIds.length, answered };
}

Deno.test("Conversation renders all messages each turn, and the engine computes only the new ones", async () => {
  await withModel(async (model) => {
    const conversation = new Conversation(model, {
      chatTemplate: "chatml",
      maxTokens: 20,
      system: "Be brief.",
    });
    const first = await turn(conversation, "Who is the king?");
    assert.equal(
      first.prompt,
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWho is the king?<|im_end|>\n" +
        "<|im_start|>assistant\n",
    );
    assert.equal(model.engine.stats.prefix.tokensSaved, 0);
    const second = await turn(conversation, "And the queen?");
    assert.equal(
      second.prompt,
      `${first.prompt}${first.answered}<|im_end|>\n<|im_start|>user\nAnd the queen?<|im_end|>\n` +
        "<|im_start|>assistant\n",
    );
    const { prefillTokens, prefix: { tokensSaved } } = model.engine.stats;
    // All full blocks of the first turn are reused. Its last token was never an input.
    assert.equal(tokensSaved, Math.floor((first.tokens + 20 - 1) / BLOCK_TOKENS) * BLOCK_TOKENS);
    assert.equal(prefillTokens, first.tokens + second.tokens - tokensSaved);
  });
});

Deno.test("Conversation drops messages that got no answer, and what reset() and system replace", async () => {
  await withModel(async (model) => {
    const conversation = new Conversation(model, { chatTemplate: "chatml", maxTokens: 4 });
    assert.ok(conversation.isEmpty && !conversation.continues);
    conversation.ask("lost", OPTIONS);
    assert.doesNotMatch((await turn(conversation, "one")).prompt, /lost|system/);
    conversation.system = "Be kind.";
    assert.match((await turn(conversation, "two")).prompt, /Be kind\.[^]*one[^]*two/);
    conversation.reset();
    assert.match((await turn(conversation, "three")).prompt, /Be kind\.(?![^]*one)[^]*three/);
  });
});

Deno.test("Conversation without a template continues the text", async () => {
  await withModel(async (model) => {
    const conversation = new Conversation(model, { maxTokens: 6 });
    assert.ok(conversation.continues);
    const first = await turn(conversation, "Once upon a time");
    assert.equal(first.prompt, "Once upon a time");
    const more = await turn(conversation, "");
    assert.equal(more.prompt, `Once upon a time${first.answered}`);
    const next = await turn(conversation, "A wolf");
    assert.equal(next.prompt, `${more.prompt}${more.answered}\n\nA wolf`);
  });
});

Deno.test("Conversation restores the turns of another one, and undo() removes them one by one", async () => {
  await withModel(async (model) => {
    for (const options of [{ maxTokens: 4 }, { maxTokens: 4, chatTemplate: "chatml" }]) {
      const first = new Conversation(model, { ...options, system: "Be brief." });
      await turn(first, "Once");
      if (first.continues) await turn(first, "");
      const second = new Conversation(model, options);
      second.restore(first.turns, first.system);
      const [expected, seen] = [await turn(first, "And then"), await turn(second, "And then")];
      assert.deepEqual(seen, expected);
      assert.equal(second.undo(), "And then");
      assert.deepEqual((await turn(second, "And then")).prompt, expected.prompt);
      second.undo();
      if (first.continues) assert.equal(second.undo(), "");
      assert.equal(second.undo(), "Once");
      assert.equal(second.undo(), undefined);
      assert.ok(second.isEmpty && !first.isEmpty);
    }
  });
});

Deno.test("Conversation reports that the context is full, and how to continue", async () => {
  await using model = await loadModel(openGguf(FILE), { device: "cpu", contextLength: 16 });
  const conversation = new Conversation(model, { maxTokens: 4 });
  const long = "far and wide ".repeat(9);
  const refused = (reason: RegExp) =>
    assert.throws(() => conversation.ask(long, OPTIONS), (error) => {
      assert.ok(error instanceof RequestError && error.kind === "too-long");
      assert.match(error.message, reason);
      return true;
    });
  refused(
    /the context has room for 16, at least one of them for the answer; shorten it, .* at most 2048$/,
  );
  await turn(conversation, "Once");
  refused(/at most 2048; \/undo removes the last turn, \/reset starts over$/);
});
