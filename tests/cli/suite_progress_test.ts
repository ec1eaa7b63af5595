import assert from "node:assert/strict";
import { RaceLine, SuiteLine } from "../../cli/suite_progress.ts";
import { Terminal } from "../../cli/terminal.ts";
import { ScriptedClock } from "../time.ts";

class Narrow extends Terminal {
  override get columns() {
    return 80;
  }
}

/** Creates a terminal of 80 columns. Returns it with a function that reads its last line. */
function makeTerminal(verbose = false) {
  const decoder = new TextDecoder();
  const screen = { text: "", isTerminal: () => true } as {
    text: string;
    isTerminal(): boolean;
    writeSync(bytes: Uint8Array): number;
  };
  screen.writeSync = (bytes) => {
    screen.text += decoder.decode(bytes);
    return bytes.length;
  };
  const terminal = new Narrow({ verbose, color: "never" }, screen, screen);
  return { terminal, line: () => screen.text.replaceAll("\x1b[K", "").split(/[\r\n]/).at(-1) };
}

Deno.test("SuiteLine shows suite, case, elapsed and remaining time, and disappears at the end", () => {
  using clock = new ScriptedClock();
  const { terminal, line } = makeTerminal();
  {
    using suite = new SuiteLine({ name: "latency", number: 2, suites: 3 }, terminal);
    // The line appears at once, as the first step may take long.
    assert.match(line()!, /^bench latency .$/);
    clock.time = 1000;
    suite.update({ label: "device probe", case: 0, cases: undefined, done: undefined });
    assert.match(line()!, /^bench latency . suite 2 of 3, 1 s: device probe$/);
    clock.time = 2000;
    suite.update({ label: "prompts, warm-up", case: 1, cases: 4, done: 0 });
    assert.equal(
      line(),
      `bench latency ${"░".repeat(10)}   0% suite 2 of 3, case 1 of 4, 2 s: prompts, warm-up`,
    );
    clock.time = 32_000;
    suite.update({ label: "text, 1 of 7", case: 2, cases: 4, done: 0.25 });
    // The time of the device probe is not part of the estimate for the cases.
    assert.equal(
      line(),
      "bench latency  25% suite 2 of 3, case 2 of 4, 32 s, 1 min 30 s left: text, 1 of",
    );
  }
  assert.equal(line(), "");
});

Deno.test("SuiteLine of a single suite has room for a bar; with -v, steps are also lines", () => {
  using clock = new ScriptedClock();
  const { terminal, line } = makeTerminal(true);
  using suite = new SuiteLine({ name: "memory", number: 1, suites: 1 }, terminal);
  clock.time = 600;
  suite.update({ label: "x", case: 1, cases: 2, done: 0.5 });
  assert.equal(
    line(),
    `bench memory ${"█".repeat(15)}${"░".repeat(15)}  50% case 1 of 2, 1 s, 0 s left: x`,
  );
});

Deno.test("RaceLine shows the current ratio and the maximum time left", () => {
  using clock = new ScriptedClock();
  const { terminal, line } = makeTerminal();
  {
    using race = new RaceLine("e2e", 60_000, terminal);
    clock.time = 5000;
    race.update({ rounds: 1, ratio: 1.0371, elapsed: 2000 });
    assert.match(
      line()!,
      /^bench ab . 1 round, 2 s, 58 s left at most: B \/ A of e2e 1\.037$/,
    );
    clock.time = 25_000;
    race.update({ rounds: 12, ratio: 0.98, elapsed: 22_000 });
    assert.match(line()!, /^bench ab . 12 rounds, 22 s, 38 s left at most: B \/ A of e2e 0\.980$/);
  }
  assert.equal(line(), "");
});

Deno.test("with nested progress, the inner one is shown, then the outer one again", () => {
  using clock = new ScriptedClock();
  const { terminal, line } = makeTerminal();
  using outer = terminal.progress("outer", 2);
  clock.time = 600;
  outer.update(1);
  assert.match(line()!, /^outer /);
  {
    using inner = terminal.progress("inner", 2);
    assert.equal(line(), "");
    clock.time = 1200;
    outer.update(1);
    assert.equal(line(), "");
    inner.update(1);
    assert.match(line()!, /^inner /);
  }
  assert.equal(line(), "");
  clock.time = 1800;
  outer.update(2);
  assert.match(line()!, /^outer .*100%$/);
});
