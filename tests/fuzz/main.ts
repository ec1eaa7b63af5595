/**
 * `deno task fuzz [--minutes N] [--seed N] [--only NAME]` runs readers on mutated input until the
 * time is over. Each reader gets the same share of CPU time. case.ts defines how a case must end.
 * The input of a case that fails is kept in dist/fuzz/; a case that hangs is printed and ends the
 * program. `--seed N --only NAME` repeats a case.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { threadSeconds } from "../time.ts";
import { type Reader, verdict } from "./case.ts";
import { fileReaders } from "./files.ts";
import { numbersFrom } from "./mutations.ts";
import { serverReaders } from "./server_bodies.ts";
import { textReaders } from "./texts.ts";
import { Watchdog } from "./watchdog.ts";

const KEPT = "dist/fuzz";
/** Seconds of wall time after which a case counts as hung, long enough for a busy machine. */
const HANG_SECONDS = 30;
/** A reader runs this many cases in a row, or fewer if they take `ROW_SECONDS` of CPU time. */
const ROW = 50;
const ROW_SECONDS = 2;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string" },
    only: { type: "string" },
  },
});
// The library would print warnings about the contents of files.
console.warn = () => {};
const scratch = Deno.makeTempDirSync({ prefix: "tvllm-fuzz-" });
const readers = { ...fileReaders(scratch), ...serverReaders(), ...await textReaders() };
const states = Object.entries<Reader>(readers)
  .filter(([name]) => values.only === undefined || name === values.only)
  .map(([name, reader]) => ({ name, reader, cases: 0, seconds: 0 }));
const names = JSON.stringify(states.map(({ name }) => name));
using watchdog = new Watchdog(
  HANG_SECONDS,
  `console.log(${names}[reader] + ", --seed " + seed + ": it hangs"), Deno.exit(1)`,
);

const end = performance.now() + 60_000 * Number(values.minutes);
const first = values.seed === undefined ? Date.now() % 2 ** 30 : Number(values.seed);
console.log(`seeds from ${first} on`);
let failures = 0;

async function runCase(index: number, seed: number): Promise<void> {
  const { name, reader } = states[index]!;
  watchdog.begin(index, seed);
  const made = reader(numbersFrom(seed));
  const fault = await verdict(made);
  if (fault === undefined) return;
  failures++;
  const path = join(KEPT, `${name.replaceAll(" ", "-")}-${seed}`);
  Deno.mkdirSync(KEPT, { recursive: true });
  Deno.writeFileSync(path, made.input);
  console.log(`${name}, --seed ${seed} (kept in ${path}): ${fault}`);
}

do {
  // The reader that has used the least CPU time is next.
  const least = Math.min(...states.map(({ seconds }) => seconds));
  const index = states.findIndex(({ seconds }) => seconds === least);
  const state = states[index]!;
  const started = threadSeconds();
  const row = values.seed === undefined ? ROW : 1;
  for (let i = 0; i < row && threadSeconds() - started < ROW_SECONDS; i++) {
    await runCase(index, first + state.cases++);
  }
  state.seconds += threadSeconds() - started;
} while (
  values.seed === undefined ? performance.now() < end : states.some(({ cases }) => cases === 0)
);

for (const { name, cases, seconds } of states) {
  console.log(`${name}: ${cases} cases, ${Math.round(cases / seconds)} a second`);
}
console.log(`${states.reduce((sum, { cases }) => sum + cases, 0)} cases, ${failures} failed`);
Deno.removeSync(scratch, { recursive: true });
if (failures > 0) Deno.exit(1);
