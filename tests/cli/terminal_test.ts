import assert from "node:assert/strict";
import { Progress } from "../../cli/progress.ts";
import { type OutputStream, silenceConsole, Terminal } from "../../cli/terminal.ts";
import { ScriptedClock } from "../time.ts";

/** Records what is written. Each call accepts only a few bytes, as a pipe may do. */
class FakeStream implements OutputStream {
  readonly #decoder = new TextDecoder();
  text = "";
  constructor(readonly terminal: boolean) {}
  writeSync(bytes: Uint8Array): number {
    const taken = bytes.subarray(0, 3);
    this.text += this.#decoder.decode(taken, { stream: true });
    return taken.length;
  }
  isTerminal(): boolean {
    return this.terminal;
  }
}

/** Runs `body` with these colour variables set, and the other ones unset. */
function withEnv(env: Record<string, string>, body: () => void): void {
  const names = ["NO_COLOR", "FORCE_COLOR", "TERM"];
  const before = names.map((name) => [name, Deno.env.get(name)] as const);
  try {
    for (const name of names) Deno.env.delete(name);
    for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
    body();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

Deno.test("Terminal.write() writes all of a text to stdout", () => {
  const stdout = new FakeStream(false);
  new Terminal({}, stdout, new FakeStream(false)).write("naïve 🎉 text");
  assert.equal(stdout.text, "naïve 🎉 text");
});

Deno.test("Terminal removes progress before it writes", () => {
  const stderr = new FakeStream(true);
  const terminal = new Terminal({}, stderr, stderr); // both streams on one screen
  using clock = new ScriptedClock();
  using progress = terminal.progress("Working");
  clock.time = 600; // past the delay before progress is shown
  progress.update(0);
  assert.match(stderr.text, /Working .$/);
  terminal.write("report\n");
  terminal.note("a note");
  assert.ok(stderr.text.endsWith("\r\x1b[Kreport\na note\n"), JSON.stringify(stderr.text));
});

Deno.test("Terminal.write() escapes control characters only on a terminal", () => {
  for (
    const [terminal, expected] of [[true, "a\\x1b[31m\n\tb"], [false, "a\x1b[31m\n\tb"]] as const
  ) {
    const stdout = new FakeStream(terminal);
    new Terminal({}, stdout, new FakeStream(false)).write("a\x1b[31m\n\tb");
    assert.equal(stdout.text, expected);
  }
});

for (
  const [options, note, detail] of [
    [{}, true, false],
    [{ quiet: true }, false, false],
    [{ verbose: true }, true, true],
  ] as const
) {
  Deno.test(`Terminal with ${JSON.stringify(options)} prints ${note ? "" : "no "}notes`, () => {
    const stderr = new FakeStream(false);
    const terminal = new Terminal(options, new FakeStream(false), stderr);
    terminal.note("a note");
    terminal.detail("a detail");
    terminal.warn("a\nwarning");
    assert.equal(stderr.text.includes("a note\n"), note);
    assert.equal(stderr.text.includes("a detail\n"), detail);
    assert.ok(stderr.text.endsWith("warning: a\\u{a}warning\n"));
  });
}

Deno.test("Terminal.note() and detail() escape control characters in names of models", () => {
  const stderr = new FakeStream(true);
  const terminal = new Terminal({ verbose: true, color: "never" }, stderr, stderr);
  terminal.note("a \x1b]0;name\x07 answers", "dim");
  terminal.detail("a \u202ename");
  assert.equal(stderr.text, "a \\u{1b}]0;name\\u{7} answers\na \\u{202e}name\n");
});

Deno.test("Terminal.error() with -v escapes control characters in an error's stack and causes", () => {
  const stderr = new FakeStream(true);
  const terminal = new Terminal({ verbose: true, color: "never" }, new FakeStream(true), stderr);
  terminal.error(new Error("a\x1b]0;b", { cause: new Error("c\x9b31m\u202e") }));
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(stderr.text, /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]/);
  assert.match(stderr.text, /c\\u009b31m/);
});

Deno.test("Terminal.error() shows the beginning and the end of a long message", () => {
  const stderr = new FakeStream(false);
  new Terminal({ color: "never" }, new FakeStream(false), stderr)
    .error(new Error(`Cannot read ${"x".repeat(5000)}: it is damaged; download it again`));
  assert.match(stderr.text, /^error: Cannot read x+ … x+: it is damaged; download it again\n$/);
  assert.equal(stderr.text.length, "error: \n".length + 400);
});

Deno.test("silenceConsole() shows the output of libraries only with -v, and escaped", () => {
  const [quiet, loud] = [new FakeStream(true), new FakeStream(true)];
  const { warn } = console;
  for (const [stderr, verbose] of [[quiet, false], [loud, true]] as const) {
    using _ = silenceConsole(() =>
      new Terminal({ verbose, color: "never" }, new FakeStream(true), stderr)
    );
    console.warn("token \x1b[2J", { id: "\x9b" });
  }
  assert.equal(console.warn, warn);
  assert.equal(quiet.text, "");
  assert.equal(loud.text, 'token \\u{1b}[2J { id: "\\x9b" }\n');
});

Deno.test("Terminal ignores failed writes to stderr, and throws if stdout is closed", () => {
  class Failing extends FakeStream {
    constructor(readonly error: Error) {
      super(false);
    }
    override writeSync(): number {
      throw this.error;
    }
  }
  const closed = new Failing(new Deno.errors.BrokenPipe("closed"));
  const terminal = new Terminal({}, closed, closed);
  terminal.note("unheard");
  new Terminal({}, closed, new Failing(new Error("No space left on device"))).note("unkept");
  assert.throws(() => terminal.write("unread"), Deno.errors.BrokenPipe);
});

for (
  const [color, env, isTerminal, expected] of [
    ["auto", {}, true, true],
    ["auto", {}, false, false],
    ["auto", { TERM: "dumb" }, true, false],
    ["auto", { NO_COLOR: "1" }, true, false],
    ["auto", { NO_COLOR: "" }, true, true],
    ["auto", { FORCE_COLOR: "1" }, false, true],
    ["auto", { FORCE_COLOR: "1", NO_COLOR: "1" }, false, true],
    ["auto", { FORCE_COLOR: "0" }, true, false],
    ["auto", { FORCE_COLOR: "", NO_COLOR: "" }, true, true],
    ["auto", { FORCE_COLOR: "" }, false, false],
    ["always", { NO_COLOR: "1" }, false, true],
    ["never", { FORCE_COLOR: "1" }, true, false],
  ] as const
) {
  const where = isTerminal ? "a terminal" : "a pipe";
  Deno.test(`--color ${color} with ${JSON.stringify(env)} into ${where}`, () => {
    withEnv(env, () => {
      const stream = new FakeStream(isTerminal);
      const styled = new Terminal({ color }, stream, stream).style("red", "x");
      assert.equal(styled, expected ? "\x1b[31mx\x1b[39m" : "x");
    });
  });
}

Deno.test("Terminal.progress() draws only on a terminal, and not with -q", () => {
  for (
    const [terminal, quiet, drawn] of [[true, false, true], [true, true, false], [
      false,
      false,
      false,
    ]]
  ) {
    const stderr = new FakeStream(terminal!);
    using clock = new ScriptedClock();
    {
      using progress = new Terminal({ quiet }, new FakeStream(false), stderr).progress(
        "Loading",
        4,
      );
      clock.time += 650;
      progress.update(2);
    }
    assert.equal(stderr.text !== "", drawn);
  }
});

Deno.test("Progress shows nothing in its first half second, then a bar, then removes it", () => {
  const drawn: string[] = [];
  let now = 1000;
  const screen = { draw: (text: string) => drawn.push(text), columns: 40, now: () => now };
  {
    using progress = new Progress({ label: "Loading", total: 200 }, screen);
    now += 499;
    progress.update(50);
    assert.deepEqual(drawn, []);
    now += 1;
    progress.update(50);
    assert.deepEqual(drawn, [`\r\x1b[KLoading ${"█".repeat(6)}${"░".repeat(19)}  25%`]);
    now += 10;
    progress.update(60);
    assert.equal(drawn.length, 1, "drawn too often");
    now += 100;
    progress.update(500);
    assert.match(drawn[1]!, /Loading █{25} 100%$/);
  }
  assert.deepEqual(drawn.slice(2), ["\r\x1b[K"]);
});

Deno.test("Progress on a narrow terminal shows the percentage, and as much else as fits", () => {
  const drawn: string[] = [];
  let now = 0;
  const screen = { draw: (text: string) => drawn.push(text), columns: 16, now: () => now };
  using progress = new Progress({ label: "Loading", total: 8 }, screen);
  now = 600;
  progress.update(1);
  now = 800;
  progress.update(2, "1 of 4 MB");
  assert.deepEqual(drawn, ["\r\x1b[KLoading  12%", "\r\x1b[KLoading  25% 1 "]);
});

Deno.test("Progress of unknown length animates its spinner by itself", async () => {
  let now = 0;
  const drawn = new Set<string>();
  const { promise, resolve } = Promise.withResolvers<void>();
  const draw = (text: string) => {
    drawn.add(text);
    if (drawn.size === 3) resolve();
  };
  using _progress = new Progress({ label: "Waiting" }, {
    draw,
    columns: 40,
    now: () => now += 200,
  });
  await promise;
});

Deno.test("Progress that is announced is shown at once, and again after it was hidden", () => {
  const drawn: string[] = [];
  const screen = { draw: (text: string) => drawn.push(text), columns: 40, now: () => 0 };
  using progress = new Progress({ label: "Waiting" }, screen);
  progress.announce();
  progress.update(undefined, "too soon");
  progress.hide();
  progress.update(undefined, "1 check done");
  assert.deepEqual(drawn, [
    "\r\x1b[KWaiting ⠋",
    "\r\x1b[K",
    "\r\x1b[KWaiting ⠋ 1 check done",
  ]);
});

Deno.test("Progress of quick work leaves no trace", () => {
  const drawn: string[] = [];
  {
    using progress = new Progress({ label: "Quick", total: 1 }, {
      draw: (text) => drawn.push(text),
      columns: 40,
      now: () => 0,
    });
    progress.update(1);
  }
  assert.deepEqual(drawn, []);
});
