/**
 * `deno task soak [--minutes N] [--device cpu|gpu] [--threads N] [--losses N] [--rest X]` runs
 * tests/soak/soak.ts for N minutes, and prints memory use every minute. V8 releases memory only now
 * and then, so peaks are compared: later peaks of the heap and the resident memory may be at most
 * 5 % above those of the first third or, if shorter, the first ten minutes. `--rest 1` pauses after
 * each round for as long as it took.
 */

import { parseArgs } from "node:util";
import { soak } from "./soak.ts";

/** Maximum ratio of the later peaks to the first, of resident memory and of the heap after GC. */
const MOST_GROWTH = 1.05;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    device: { type: "string", default: "cpu" },
    threads: { type: "string" },
    losses: { type: "string", default: "20" },
    rest: { type: "string", default: "0" },
  },
});
const minutes = Number(values.minutes), losses = Number(values.losses);
const device = values.device === "gpu" ? "gpu" : "cpu";
/** Available with --expose-gc. */
const { gc } = globalThis as unknown as { gc: () => void };

interface Sample {
  readonly minutes: number;
  readonly heap: number;
  readonly resident: number;
}

const samples: Sample[] = [];
const started = performance.now();
const elapsed = () => (performance.now() - started) / 60_000;
let lost = 0, roundStarted = started, told = 0;

const counts = await soak({
  device,
  ...(values.threads !== undefined && { threads: Number(values.threads) }),
  requests: 100,
  goesOn: () => elapsed() < minutes,
  // Losses are spread evenly over the time, except for its first and last part.
  isLost: () => lost < losses && elapsed() > (lost + 1) * minutes / (losses + 2) && ++lost > 0,
  idle: async ({ round, losses, deviceBytes }) => {
    gc();
    const { heapUsed: heap, rss: resident } = Deno.memoryUsage();
    samples.push({ minutes: elapsed(), heap, resident });
    if (elapsed() >= told) {
      told = Math.floor(elapsed()) + 1;
      console.log(
        `${elapsed().toFixed(1)} min: ${
          round + 1
        } rounds, ${losses} devices lost, device ${deviceBytes}, ` +
          `heap ${heap}, resident ${resident}`,
      );
    }
    const took = performance.now() - roundStarted;
    await new Promise((resolve) => setTimeout(resolve, took * Number(values.rest)));
    roundStarted = performance.now();
  },
});

console.log(JSON.stringify(counts));
const mark = Math.min(10, minutes / 3);
let failed = false;
for (const what of ["heap", "resident"] as const) {
  const most = (chosen: readonly Sample[]) => Math.max(...chosen.map((sample) => sample[what]));
  const before = most(samples.filter((sample) => sample.minutes < mark));
  const after = most(samples.filter((sample) => sample.minutes >= mark));
  const growth = ((after / before - 1) * 100).toFixed(1);
  console.log(
    `${what}: at most ${before} bytes in the first ${mark} min, ${after} later (${growth} %)`,
  );
  failed ||= after > before * MOST_GROWTH;
}
if (failed) Deno.exit(1);
