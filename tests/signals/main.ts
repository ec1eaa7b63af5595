/**
 * `deno task signals [--times N] [--seed N] [--only KIND]` interrupts the program at N random
 * moments, by default 200. The program must exit within a second with code 130 or 143, and leave
 * nothing partly written.
 */

import { parseArgs } from "node:util";
import { numbersFrom } from "../fuzz/mutations.ts";
import { interrupt, KINDS } from "./interruptions.ts";

const MOST_MS = 1000;

/** For each kind of work: the signal is sent within this many milliseconds after its begin. */
const SPANS: Readonly<Record<string, number>> = {
  load: 3000,
  prefill: 6000,
  decode: 3000,
  bench: 6000,
  "bench on a GPU": 10_000,
  download: 3000,
  serve: 3000,
};

const { values } = parseArgs({
  options: {
    times: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
  },
});
const pick = numbersFrom(Number(values.seed));
const longest = new Map<string, number>();
let failures = 0;
const kinds = Object.entries(KINDS).filter(([name]) =>
  values.only === undefined || name === values.only
);
for (let i = 0; i < Number(values.times); i++) {
  const [name, kind] = kinds[i % kinds.length]!;
  const signal = pick(2) === 0 ? "SIGINT" : "SIGTERM";
  const moment = pick(SPANS[name]!);
  const { code, milliseconds, cpuMilliseconds, fault } = await interrupt(kind, signal, moment);
  longest.set(name, Math.max(longest.get(name) ?? 0, milliseconds));
  const expected = signal === "SIGINT" ? 130 : 143;
  if (code === expected && milliseconds <= MOST_MS && fault === undefined) continue;
  failures++;
  console.log(
    `${name}, ${signal} after ${moment} ms: exit code ${code} in ${milliseconds.toFixed(0)} ms` +
      (cpuMilliseconds === undefined ? "" : ` (${cpuMilliseconds} ms of CPU time)`) +
      (fault === undefined ? "" : `; ${fault}`),
  );
}
for (const [name, milliseconds] of longest) {
  console.log(`${name}: ended within ${milliseconds.toFixed(0)} ms`);
}
console.log(`${values.times} signals, ${failures} failed`);
if (failures > 0) Deno.exit(1);
