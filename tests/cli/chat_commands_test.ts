/** The commands of a chat, run with a partner that computes nothing. */

import assert from "node:assert/strict";
import { type CommandTarget, runCommand } from "../../cli/chat_commands.ts";
import { ChatSettings, type ChatValues } from "../../cli/chat_settings.ts";
import { Conversation, type Turn } from "../../cli/conversation.ts";
import { SavedChats } from "../../cli/saved_chats.ts";

const VALUES: ChatValues = { temp: 0.8, topK: 40, topP: 0.95, minP: 0.05, repeatPenalty: 1 };

/** A chat with these turns. `answer` returns the next answer, or undefined if there is none. */
function chatOf(turns: readonly Turn[], answer: (text: string) => string | undefined = () => "") {
  const conversation = new Conversation({ chatTemplate: "", generate: () => {} }, {});
  conversation.restore(turns, "Be brief.");
  const said: string[] = [];
  const target: CommandTarget = {
    conversation,
    settings: new ChatSettings(VALUES),
    saved: SavedChats.open(undefined),
    model: "a model",
    statistics: () => "",
    say: (text) => void said.push(text),
    // deno-lint-ignore require-await -- a failure must reject
    async ask(text) {
      conversation.ask(text, {});
      const answered = answer(text);
      if (answered !== undefined) conversation.answered(answered);
    },
  };
  return { conversation, said, run: (line: string) => runCommand(target, line) };
}

const TURNS = [{ prompt: "One", answer: "1" }, { prompt: "Two", answer: "2" }];

Deno.test("/retry replaces the last answer", async () => {
  const { conversation, run } = chatOf(TURNS, (text) => `${text}!`);
  await run("/retry");
  assert.deepEqual(conversation.turns, [TURNS[0], { prompt: "Two", answer: "Two!" }]);
  assert.equal(conversation.system, "Be brief.");
});

Deno.test("/retry keeps the last answer if the request fails, or is stopped before its first token", async () => {
  const failing = chatOf(TURNS, () => {
    throw new Error("overloaded");
  });
  await assert.rejects(failing.run("/retry"), /overloaded/);
  assert.deepEqual(failing.conversation.turns, TURNS);
  const stopped = chatOf(TURNS, () => undefined);
  await stopped.run("/retry");
  assert.deepEqual(stopped.conversation.turns, TURNS);
  assert.equal(stopped.conversation.system, "Be brief.");
});
