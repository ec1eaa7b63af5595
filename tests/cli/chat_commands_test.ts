/** The commands of a chat, run with a partner that computes nothing. */

import assert from "node:assert/strict";
import stringWidth from "string-width";
import { type CommandTarget, runCommand } from "../../cli/chat_commands.ts";
import { ChatSettings, type ChatValues } from "../../cli/chat_settings.ts";
import { Conversation, type Turn } from "../../cli/conversation.ts";
import { UsageError } from "../../cli/exit_codes.ts";
import { SavedChats } from "../../cli/saved_chats.ts";

const VALUES: ChatValues = { temp: 0.8, topK: 40, topP: 0.95, minP: 0.05, repeatPenalty: 1 };

/** A chat with these turns. `answer` returns the next answer, or undefined if there is none. */
function chatOf(
  turns: readonly Turn[],
  answer: (text: string) => string | undefined = () => "",
  saved = SavedChats.open(undefined),
) {
  const conversation = new Conversation({ chatTemplate: "", generate: () => {} }, {});
  conversation.restore(turns, "Be brief.");
  const said: string[] = [];
  const target: CommandTarget = {
    conversation,
    settings: new ChatSettings(VALUES),
    saved,
    model: "a model",
    columns: 80,
    statistics: () => [],
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

/** The column of the terminal in which a line's `text` begins. */
function columnOf(line: string, text: string): number {
  const at = line.indexOf(text);
  assert.ok(at >= 0, line);
  return stringWidth(line.slice(0, at));
}

Deno.test("/set lists long values in columns, within 80 columns", async () => {
  const { said, run } = chatOf([]);
  await run("/set seed 4294967295");
  await run("/set repeat-penalty 1.00000001");
  await run("/set");
  const lines = said.at(-1)!.trimEnd().split("\n");
  assert.deepEqual(lines.filter((line) => line.length > 79), []);
  const beginnings = ["temperature; 0", "keep the k", "random seed", "make recent"];
  const columns = beginnings.map((text) =>
    columnOf(lines.find((line) => line.includes(text)) ?? "", text)
  );
  assert.equal(new Set(columns).size, 1, said.at(-1));
  assert.ok(lines.some((line) => line.includes("  4294967295  random seed")), said.at(-1));
  assert.ok(lines.some((line) => line.includes("  1.00000001  make recent")), said.at(-1));
});

Deno.test("/load lists names of any length and script in columns", async () => {
  using saved = SavedChats.open(Deno.makeTempDirSync());
  const { said, run } = chatOf(TURNS, undefined, saved);
  const long = "a name that is longer than half of a line of the terminal";
  for (const name of ["short", "a rather long chat name here", "長い物語の名前", long]) {
    await run(`/save ${name}`);
  }
  await run("/load");
  const lines = said.at(-1)!.trimEnd().split("\n");
  assert.equal(lines[0], `  ${long}`); // its description begins on the next line
  assert.equal(lines.length, 5);
  const columns = lines.slice(1).map((line) => columnOf(line, "20"));
  assert.equal(new Set(columns).size, 1, said.at(-1));
  assert.ok(lines.every((line) => stringWidth(line) < 80));
});

Deno.test("/set with a name alone shows this setting, and a mistake is an error", async () => {
  const { said, run } = chatOf([]);
  await run("/set temperature");
  assert.match(said.at(-1)!, /^ {2}temp +0\.8 {2}temperature; 0 .*\n$/);
  const cases: readonly (readonly [string, RegExp])[] = [
    ["/set temp=0.5", /^Cannot set temp=0\.5: put a space .*, as in \/set temp 0\.5$/],
    ["/set --max_tokens=", /put a space .*, as in \/set max-tokens 1$/],
    ["/set tmp=0.5", /^Cannot set tmp: did you mean temp\?$/],
    ["/set tmp", /^Cannot set tmp: did you mean temp\?$/],
    ["/set temp = 0.5", /^Cannot set temp to '= 0\.5': Expected a number/],
  ];
  const before = said.length;
  for (const [line, message] of cases) {
    await assert.rejects(run(line), (error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.equal(said.length, before);
});

Deno.test("a command that takes no argument refuses one", async () => {
  const { conversation, run } = chatOf(TURNS);
  for (const line of ["/undo 2", "/reset all", "/retry Two?", "/stats x", "/bye now"]) {
    await assert.rejects(
      run(line),
      /^UsageError: Cannot run \/\w+ with an argument: it takes none/,
    );
  }
  assert.deepEqual(conversation.turns, TURNS);
});
