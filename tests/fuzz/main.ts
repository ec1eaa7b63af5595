/**
 * `deno task fuzz [--minutes N] [--seed N] [--only NAME]`: mutates what readers read until the time is over,
 * each reader for the same share of the processor's time. How a case must end is in case.ts. One that does
 * not, or never ends, is kept in dist/fuzz/; `--seed N --only NAME` repeats it.
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
/** Seconds by the clock after which a case is taken to hang, on however busy a machine. */
const HANG_SECONDS = 30;
/** Cases of a reader in a row, unless they take longer than so many seconds. */
const ROW = 50;
const ROW_SECONDS = 2;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string" },
    only: { type: "string" },
  },
});
// The library warns of what files have.
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
  // Whose turn it is: the one that has had the least time.
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
