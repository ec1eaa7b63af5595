/** The chat of `tvllm generate` on a real terminal. The CPU's answers are the same everywhere. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { linesAfter, masked, NO_TERMINAL, PseudoTerminal } from "./pseudo_terminal.ts";
import { run } from "./run_tvllm.ts";

const ignore = NO_TERMINAL !== undefined;
if (NO_TERMINAL) console.error(`skipping the chat on a terminal: ${NO_TERMINAL}`);

const CHAT = `sh "$0" generate --device cpu --temp 0 -n 12`;

Deno.test({
  name: "chat: a question, an answer, more of it, the statistics, a new start, the end",
  ignore,
  fn: async (t) => {
    await using terminal = await PseudoTerminal.open(CHAT);
    await terminal.shows(/^>/m);
    await terminal.type("/stats\n");
    await terminal.shows(/There is no answer yet\.\n>/);
    await terminal.type("Once upon a time\n");
    await terminal.shows(/Press Enter to continue\.\n>/);
    await terminal.press("Enter");
    await terminal.shows(/(to continue\.[^]*){2}\n>$/);
    await terminal.type("/stats\n");
    await terminal.shows(/device .*\n>/);
    await terminal.type("/reset\n");
    await terminal.shows(/forgotten\.\n>/);
    await terminal.press("Enter"); // there is nothing to continue
    await terminal.press("Up", "Up", "Up", "Enter");
    await terminal.shows(/(to continue\.[^]*){3}\n>$/);
    await terminal.press("C-d");
    await t.assertSnapshot(masked(await terminal.ended()));
  },
});

Deno.test({
  name: "chat: the keys that edit a line, one by one",
  ignore,
  fn: async () => {
    await using terminal = await PseudoTerminal.open(`${CHAT} -n 1`);
    await terminal.shows(/^>/m);
    for (const line of ["/system one", "/system two", "/system three"]) {
      await terminal.type(`${line}\n`);
      await terminal.shows(new RegExp(`${line}\n.*is set\\.\n>$`));
    }
    // Each key is pressed after the screen shows the effect of the one before, as a person would.
    for (
      const [key, line] of [
        ["Up", "/system three|"],
        ["Up", "/system two|"],
        ["Up", "/system one|"],
        ["Down", "/system two|"],
        ["BSpace", "/system tw|"],
        ["C-w", "/system |"],
        ["C-y", "/system tw|"],
        ["C-a", "|/system tw"],
        ["x", "x|/system tw"],
        ["Delete", "x|system tw"],
        ["M-f", "xsystem |tw"],
        ["C-k", "xsystem |"],
        ["C-b", "xsystem|"],
        ["C-d", "xsystem|"],
        ["Left", "xsyste|m"],
        ["y", "xsystey|m"],
        ["Home", "|xsysteym"],
        ["End", "xsysteym|"],
        ["M-b", "|xsysteym"],
        ["Right", "x|systeym"],
        ["M-d", "x|"],
        ["C-u", "|"],
      ] as const
    ) {
      await terminal.press(key);
      await terminal.showsLine(`> ${line}`);
    }
    await terminal.press("C-d");
    assert.match(await terminal.ended(), /\[exit 0\]$/);
  },
});

Deno.test({
  name: "chat: a line that ends in a backslash continues, Ctrl-C discards all of it",
  ignore,
  fn: async () => {
    await using terminal = await PseudoTerminal.open(CHAT);
    await terminal.shows(/^>/m);
    await terminal.type("Once\\\n");
    await terminal.shows(/^\.\.\.$/m);
    await terminal.type("lost\\\n");
    await terminal.shows(/lost\\\n\.\.\.$/m);
    await terminal.press("C-c");
    await terminal.shows(/\^C\n>$/);
    await terminal.type("/system two\\\n");
    await terminal.shows(/two\\\n\.\.\.$/);
    await terminal.type("lines\n");
    await terminal.shows(/is set\.\n>$/);
    await terminal.type("/bye\n");
    assert.match(await terminal.ended(), /lines\nThe system .* set\.\n> \/bye\n\[exit 0\]$/);
  },
});

Deno.test({
  name: "chat: /undo and /retry",
  ignore,
  fn: async (t) => {
    await using terminal = await PseudoTerminal.open(`${CHAT} -s "A tale."`);
    await terminal.shows(/^>/m);
    await terminal.type("/undo\n");
    await terminal.shows(/no message.*\n>$/);
    await terminal.type("Once upon a time\n");
    await terminal.shows(/to continue\.\n>$/);
    await terminal.type("/retry\n");
    await terminal.shows(/(to continue\.[^]*){2}\n>$/);
    await terminal.press("Enter");
    await terminal.shows(/(to continue\.[^]*){3}\n>$/);
    await terminal.type("/undo\n");
    await terminal.shows(/piece of text\n>$/);
    await terminal.type("/undo\n");
    await terminal.shows(/Removed: Once upon a time\n>$/);
    await terminal.type("/exit\n");
    await t.assertSnapshot(await terminal.ended());
  },
});

Deno.test({
  name: "chat: /save stores a conversation, /load continues it in another chat",
  ignore,
  fn: async () => {
    const TVLLM_DATA = join(Deno.makeTempDirSync(), "not there yet");
    let screen: string;
    {
      await using terminal = await PseudoTerminal.open(`${CHAT} -s "A tale."`, { TVLLM_DATA });
      await terminal.shows(/^>/m);
      await terminal.type("/save tale\n");
      await terminal.shows(/error: Cannot save: the conversation is empty\n>$/);
      await terminal.type("/load\n");
      await terminal.shows(/Nothing is saved yet.*\n>$/);
      await terminal.type("Once upon a time\n");
      await terminal.shows(/to continue\.\n>$/);
      await terminal.type("/save ~/tale.json\n");
      await terminal.shows(/Cannot save as '~\/tale\.json': expected a name/);
      await terminal.type("/save tale\n");
      await terminal.shows(/Saved as tale\.\n>$/);
      await terminal.press("Enter");
      screen = await terminal.shows(/(to continue\.[^]*){2}\n>$/);
      await terminal.press("C-d");
      await terminal.ended();
    }
    // The same model continues the saved turn with the same text as before.
    const [, more] = /Saved as tale\.\n>\n([^]+?)\nStopped/.exec(screen)!;
    await using terminal = await PseudoTerminal.open(CHAT, { TVLLM_DATA });
    await terminal.shows(/^>/m);
    await terminal.type("/load\n");
    await terminal.shows(/^ {2}tale +\d{4}-\d\d-\d\d, 1 turn with \S.*\n>$/m);
    await terminal.type("/load tal\n");
    await terminal.shows(/Cannot load 'tal': did you mean tale\?\n>$/);
    await terminal.type("/load tale\n");
    await terminal.shows(/Loaded 1 turn with .*\. The last answer: .*\n>$/);
    await terminal.press("Enter");
    assert.ok((await terminal.shows(/to continue\.\n>$/)).includes(`\n>\n${more}\nStopped`));
    await terminal.type("/undo\n");
    await terminal.type("/undo\n");
    await terminal.shows(/Removed: Once upon a time\n>$/);
    await terminal.press("C-d");
    assert.match(await terminal.ended(), /\[exit 0\]$/);
  },
});

Deno.test({
  name: "chat: words are wrapped at the terminal's width",
  ignore,
  fn: async () => {
    await using terminal = await PseudoTerminal.open(CHAT.replace("-n 12", "-n 120"));
    await terminal.shows(/^>/m);
    await terminal.type("Once upon a time\n");
    const [, answer] = /a time\n([^]+)\nStopped/.exec(await terminal.shows(/to continue\.\n>$/))!;
    // The screen joins lines that the terminal broke, so these would be longer than its width.
    assert.ok(answer!.split("\n").every((line) => line.length < 80), answer);
    assert.ok(answer!.split("\n").filter((line) => line.length > 60).length > 3, answer);
  },
});

Deno.test({
  name: "chat: commands, and what is none",
  ignore,
  fn: async (t) => {
    await using terminal = await PseudoTerminal.open(CHAT);
    await terminal.shows(/^>/m);
    await terminal.type("/help\n");
    const help = await terminal.shows(/Ctrl-D +ends the chat\n>$/);
    assert.deepEqual(help.split("\n").filter((line) => line.length > 79), []); // it has 80 columns
    await terminal.type("/sys");
    await terminal.shows(/> \/sys$/);
    await terminal.press("Tab");
    await terminal.shows(/> \/system$/);
    await terminal.type(" A tale.\n");
    await terminal.shows(/is set\.\n>/);
    await terminal.type("/system\n");
    await terminal.shows(/removed\.\n>/);
    await terminal.type("/frobnicate\n");
    await terminal.shows(/lists the commands.*\n>/);
    await terminal.type("/rset\n");
    await terminal.shows(/mean \/reset\?.*\n>/);
    await terminal.type("/set temp hot\n");
    await terminal.shows(/Expected a number.*\n>/);
    await terminal.type("/set tmp 1\n");
    await terminal.shows(/mean temp\?\n>/);
    await terminal.type("/set num_predict 3\n");
    await terminal.shows(/Set num_predict to 3\.\n>$/);
    await terminal.type("/set\n");
    await terminal.shows(/max-tokens +3 .*\n[^]*\n>$/);
    await terminal.press("C-z"); // changes nothing
    await terminal.type("gone");
    await terminal.press("C-c");
    await terminal.shows(/gone\^C\n>$/);
    await terminal.press("C-c");
    await t.assertSnapshot(await terminal.ended());
  },
});

Deno.test({
  name: "chat: Ctrl-C stops the answer and keeps what was generated",
  ignore,
  fn: async () => {
    // The answer takes long enough that Ctrl-C comes before its end, even on a busy machine.
    await using terminal = await PseudoTerminal.open(
      `sh "$0" generate --device gpu --seed 1 -n 900`,
    );
    // A command that is typed during an answer is read after it.
    const used = async () => {
      await terminal.type("/stats\n");
      const screen = await terminal.shows(/context +[\d,]+ of 2,048 tokens used\n[^>]*\n>$/);
      return Number(/^.*context +([\d,]+)/s.exec(screen)![1]!.replace(",", ""));
    };
    await terminal.shows(/^>/m);
    await terminal.type("Once upon a time\n");
    await terminal.shows(linesAfter("> Once upon a time"));
    await terminal.press("C-c");
    await terminal.shows(/\n>$/);
    const first = await used();
    // The length of this answer depends on where the first was cut, so it must end by itself.
    await terminal.type("Then the king\n");
    await terminal.shows(/> Then the king\n/);
    const second = await used();
    const counts = `${first} and ${second} tokens\n${await terminal.screen()}`;
    assert.ok(first > 8 && first < 900 && first + 4 < second, counts);
    await terminal.press("C-d");
    assert.match(await terminal.ended(), /\[exit 0\]$/);
  },
});

Deno.test({
  name: "chat: text typed during an answer is not shown, and is read after the answer",
  ignore,
  fn: async () => {
    await using terminal = await PseudoTerminal.open(
      `sh "$0" generate --device cpu --seed 1 -n 64`,
    );
    await terminal.shows(/^>/m);
    await terminal.type("Once upon a time\n");
    await terminal.shows(linesAfter("> Once upon a time"));
    await terminal.type("/stats\n and two\nlines\n");
    const screen = await terminal.shows(/(to continue\.[^]*){2}\n>$/);
    assert.match(screen, /to continue\.\n> \/stats\n and two\nlines\n +last answer +64 tokens/);
    await terminal.press("C-d");
  },
});

Deno.test({
  name: "chat: a pasted page is read at once as one message; Ctrl-C discards it",
  ignore,
  fn: async () => {
    // At the end, the shell prints the CPU time of its children.
    await using terminal = await PseudoTerminal.open(
      `{ ${CHAT} -c 64; code=$?; times; (exit $code); }`,
    );
    await terminal.shows(/^>/m);
    await terminal.type("All work and no play.\n".repeat(30) + "The end");
    await terminal.shows(/The end$/);
    await terminal.press("C-c");
    await terminal.shows(/The end\^C\n>$/);
    await terminal.type("word ".repeat(2000));
    await terminal.press("Enter");
    await terminal.shows(/a prompt of \d+ tokens: the context has room/);
    await terminal.press("C-d");
    const screen = await terminal.ended();
    assert.match(screen, /\[exit 0\]$/);
    const [, minutes, seconds] = /^(\d+)m([\d.]+)s .*\n\[exit/m.exec(screen)!;
    // If the page was processed key by key, this would take minutes.
    assert.ok(60 * Number(minutes) + Number(seconds) < 5, screen);
  },
});

Deno.test({
  name: "chat: a dumb terminal gets no escape sequences, and the same chat",
  ignore,
  fn: async (t) => {
    await using terminal = await PseudoTerminal.open(`TERM=dumb ${CHAT}`);
    await terminal.shows(/^>/m);
    await terminal.type("Once upon a time\nthere was\n");
    await terminal.shows(/to continue\.\n>$/);
    await terminal.type("gone");
    await terminal.press("C-c");
    await terminal.shows(/gone\^C\n>$/);
    await terminal.press("C-c");
    await t.assertSnapshot(await terminal.ended());
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(/\n> [^]*/.exec(terminal.written())![0], /\x1b/);
  },
});

Deno.test({
  name: "chat: SIGTERM ends it with exit code 143 and restores the terminal",
  ignore,
  fn: async () => {
    // The launcher's process becomes the program, so the signal goes to its id.
    await using terminal = await PseudoTerminal.open(
      `sh -c 'echo "id $$"; exec sh "$@"' sh "$0" generate --device cpu`,
    );
    const screen = await terminal.shows(/^>/m);
    await run("sh", ["-c", `kill -TERM ${/id (\d+)/.exec(screen)![1]}`]);
    assert.match(await terminal.ended(), /\[exit 143\]$/);
  },
});

Deno.test({
  name: "chat: errors of a turn do not end it, a full context says what to do",
  ignore,
  fn: async (t) => {
    await using terminal = await PseudoTerminal.open(`${CHAT} -c 32`);
    await terminal.shows(/^>/m);
    await terminal.type(`${"far and wide ".repeat(14)}\n`);
    await terminal.shows(/shorten it, .*\n>/);
    await terminal.type("Once upon a time there was a king who had a\n");
    await terminal.shows(/max-tokens allows [^>]*\n>$/);
    await terminal.press("Enter");
    await terminal.shows(/is full: .*\n>$/);
    await terminal.type("And then?\n");
    await terminal.shows(/error: .*\n>$/);
    await terminal.press("C-d");
    await t.assertSnapshot(await terminal.ended());
  },
});
