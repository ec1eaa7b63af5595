/** Progress of long work on a real terminal, which is removed when the work is done. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { SUITES } from "../../bench/suites/mod.ts";
import { REAL_MODEL, realModelMissing } from "../files/on_disk.ts";
import { NO_TERMINAL, PseudoTerminal } from "./pseudo_terminal.ts";

const ignore = NO_TERMINAL !== undefined;
if (NO_TERMINAL) console.error(`skipping progress on a terminal: ${NO_TERMINAL}`);

/** Replaces times, and what depends on them, by constants. Keeps the number of cases. */
function steady(line: string): string {
  return line
    .replace(/ +(?:[█░]+ +)?\d+%/, " BAR")
    .replace(/case \d+ of/, "case N of")
    .replace(/, (\d+ min )?\d+ s(, .* left)?:.*/, ", TIME: STEP");
}

for (const { name } of SUITES) {
  Deno.test({
    name: `on a terminal bench ${name} shows the case, the time and the step; nothing of it stays`,
    ignore,
    fn: async (t) => {
      await using terminal = await PseudoTerminal.open(
        // bench kernels measures only kernels of a GPU.
        `sh "$0" bench ${name} --device ${
          name === "kernels" ? "gpu --only sampling" : "cpu"
        } -r 100 --warmup 1 -p 32 -n 24 --concurrency 1,2 ` +
          `--contexts 32,64 --sequences 1,2`,
      );
      const line = new RegExp(`^bench ${name} [█░ ]*\\d+% case \\d+ of \\d+, .*: .+$`, "m");
      const [shown] = line.exec(await terminal.wrote(line))!;
      await t.assertSnapshot(steady(shown!));
      await terminal.press("C-c");
      assert.doesNotMatch(await terminal.ended(), new RegExp(`^bench ${name}`, "m"));
    },
  });
}

Deno.test({
  name: "on a terminal bench of several suites shows which of them runs",
  ignore,
  fn: async () => {
    await using terminal = await PseudoTerminal.open(
      `sh "$0" bench all --device cpu -r 100 --warmup 1 -p 32 -n 24`,
    );
    await terminal.wrote(new RegExp(`^bench \\S+ .*% suite 1 of ${SUITES.length}, case 1 of`, "m"));
    await terminal.press("C-c");
    assert.match(await terminal.ended(), /\[exit 130\]$/);
  },
});

Deno.test({
  name: "on a terminal bench ab shows the rounds and the current ratio",
  ignore,
  fn: async () => {
    await using terminal = await PseudoTerminal.open(
      `sh "$0" bench ab --budget 600 --margin 0.0001% -p 16 -n 8 -- --device cpu -- --device cpu`,
    );
    await terminal.wrote(/^bench ab \S \d+ rounds?, .* left at most: B \/ A of e2e [\d.]+$/m);
    await terminal.press("C-c");
    assert.doesNotMatch(await terminal.ended(), /left at most/);
  },
});

Deno.test({
  name: "on a terminal synth shows how much is written",
  ignore,
  fn: async () => {
    const file = join(Deno.makeTempDirSync(), "model.gguf");
    await using terminal = await PseudoTerminal.open(
      `sh "$0" synth tinyllama-1.1b --quant F32 -o '${file}'`,
    );
    await terminal.wrote(
      /^Making the model [█░]+ +\d+% [\d.]+ [MG]B of 4\.40 GB, .*\/s, .* left$/m,
    );
    await terminal.press("C-c");
    assert.equal((await terminal.ended()).replace(/\n?\^C/, ""), "[exit 130]");
  },
});

Deno.test({
  name: "on a terminal perplexity shows how much is scored",
  ignore,
  fn: async () => {
    await using terminal = await PseudoTerminal.open(
      `sh "$0" perplexity -f CONTRIBUTING.md --device cpu -c 64`,
    );
    await terminal.wrote(/^Scoring [█░]+ +\d+% [\d,]+ of [\d,]+ tokens, .* left$/m);
    await terminal.press("C-c");
    assert.doesNotMatch(await terminal.ended(), /Scoring/);
  },
});

Deno.test({
  name: "on a terminal devices shows that it measures, and --check how many checks are done",
  ignore,
  fn: async () => {
    await using terminal = await PseudoTerminal.open(
      `sh "$0" devices; sh "$0" devices --check`,
    );
    await terminal.wrote(/^Measuring \S$/m);
    await terminal.wrote(/^Checking \S \d+ checks? done$/m);
    await terminal.press("C-c");
    assert.doesNotMatch(await terminal.ended(), /Measuring|Checking/);
  },
});

Deno.test({
  name: "on a terminal loading a model shows its progress, and then the chat",
  ignore: ignore || realModelMissing(),
  fn: async () => {
    await using terminal = await PseudoTerminal.open(
      // On the CPU, it loads within the half second in which no progress is shown.
      `sh "$0" generate -m '${REAL_MODEL}' --device gpu`,
    );
    await terminal.wrote(/^Loading [█░]+ +\d+% .* of 9\d\.\d MB/m);
    const screen = await terminal.shows(/^>$/m);
    assert.doesNotMatch(screen, /Loading/);
    await terminal.type("/bye\n");
    assert.match(await terminal.ended(), /\[exit 0\]$/);
  },
});
