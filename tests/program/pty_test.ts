/** What commands show on a real terminal, and leave out otherwise. */

import assert from "node:assert/strict";
import { BadHub, content } from "../hub/bad_hub.ts";
import { REAL_MODEL, realModelMissing } from "../files/on_disk.ts";
import { linesAfter, masked, NO_TERMINAL, PseudoTerminal } from "./pseudo_terminal.ts";

const ignore = NO_TERMINAL !== undefined;
if (NO_TERMINAL) console.error(`skipping what needs a terminal: ${NO_TERMINAL}`);

const STORY = `sh "$0" generate "Once upon a time" --device cpu --temp 0`;

Deno.test({
  name: "on a terminal generate shows tokens as they come, and a closing line",
  ignore,
  fn: async (t) => {
    await using terminal = await PseudoTerminal.open(`${STORY} -n 600`);
    const first = await terminal.shows(linesAfter("with -m"));
    assert.doesNotMatch(first, /tok\/s/);
    await t.assertSnapshot(
      masked(await terminal.ended()).replace(/\n[^]*\n(?=Stopped after)/, "\n…\n"),
    );
  },
});

Deno.test({
  name: "on a terminal a long prompt shows its progress, which is removed afterwards",
  ignore: ignore || realModelMissing(),
  fn: async () => {
    const prompt = Deno.makeTempFileSync();
    Deno.writeTextFileSync(prompt, "The king said to the queen. ".repeat(300));
    await using terminal = await PseudoTerminal.open(
      `sh "$0" generate -m '${REAL_MODEL}' -f '${prompt}' -n 1 --raw; echo "$?"`,
    );
    const reading = /^Reading [█░]+ +\d+% [\d,]+ of 2,\d+ tokens, [\d.,]+ tok\/s, .* left$/m;
    await terminal.wrote(reading);
    await terminal.press("C-c");
    assert.doesNotMatch(await terminal.ended(), /Reading/);
  },
});

Deno.test({
  name:
    "on a terminal Ctrl-C ends generate with the text so far, the closing line and exit code 130",
  ignore,
  fn: async () => {
    await using terminal = await PseudoTerminal.open(`${STORY} -n 2000`);
    await terminal.shows(linesAfter("with -m"));
    await terminal.press("C-c");
    const screen = await terminal.ended();
    assert.match(
      screen,
      /with -m\n[^]{30,}\nRead a prompt of 6 tokens in .*s, wrote \d+ tokens in .*\n\[exit 130\]$/,
    );
  },
});

Deno.test({
  name: "pull draws a bar on a terminal, and removes it",
  ignore,
  fn: async (t) => {
    const bytes = content(2 ** 20);
    const finish = Promise.withResolvers<void>();
    await using hub = new BadHub({ "model.gguf": bytes });
    hub.fault = ({ path }) => {
      if (!path.includes("/resolve/")) return undefined;
      const halves = [bytes.subarray(0, bytes.length / 2), bytes.subarray(bytes.length / 2)];
      return new Response(
        new ReadableStream({
          async pull(controller) {
            const half = halves.shift();
            if (half === undefined) return controller.close();
            if (halves.length === 0) await finish.promise;
            controller.enqueue(half);
          },
        }),
        { headers: { "content-length": String(bytes.length) } },
      );
    };
    const env = { HF_ENDPOINT: hub.endpoint, TVLLM_CACHE: Deno.makeTempDirSync() };
    await using terminal = await PseudoTerminal.open(
      `sh "$0" pull hf:org/repo | sed 's/.*snapshots/CACHE/'`,
      env,
    );
    const during = await terminal.shows(/50%/);
    finish.resolve();
    const after = await terminal.ended();
    const steady = (screen: string) =>
      screen.replace(/(524 kB of 1\.05 MB).*/, "$1, …").replace(/in \d+ s/, "in N s");
    await t.assertSnapshot(`${steady(during)}\n--- then\n${steady(after)}`);
  },
});

Deno.test({
  name: "colour: on a terminal, but not with NO_COLOR, --color never, TERM=dumb or a pipe",
  ignore,
  fn: async () => {
    const wrong = `sh "$0" inspect /no/such.gguf`;
    await using terminal = await PseudoTerminal.open(
      [
        wrong,
        `NO_COLOR=1 ${wrong}`,
        `${wrong} --color never`,
        `TERM=dumb ${wrong}`,
        `${wrong} 2>&1 | cat`,
        `${wrong} --color always 2>&1 | cat`,
      ].join("; echo; "),
    );
    await terminal.ended();
    // deno-lint-ignore no-control-regex
    const colours = [...terminal.written().matchAll(/(\x1b\[31m)?error:/g)].map(([, red]) => !!red);
    assert.deepEqual(colours, [true, false, false, false, false, true]);
  },
});

Deno.test({
  name: "on a terminal a closed pipe ends generate quietly, with exit code 0",
  ignore,
  fn: async () => {
    await using terminal = await PseudoTerminal.open(
      `{ ${STORY} -n 400; echo "[code $?]" >&2; } | head -c 20; echo`,
    );
    const screen = await terminal.ended();
    assert.match(screen, /^Using .*\n[^]{20}\[code 0\]\n\n\[exit 0\]$/);
  },
});
