/**
 * Measures a server under load: requests arrive at a rate, or a fixed number of them is kept
 * running.
 */

import { reasonsOf } from "../harness/failed_requests.ts";
import type { Harness, Suite } from "../harness/harness.ts";
import { endToEnd, generated, interTokenLatencies, tpot, ttft } from "../harness/timings.ts";
import { E2E, ITL, lines, type Metric, REQUEST_THROUGHPUT, THROUGHPUT } from "../report/metrics.ts";
import { REQUESTS_FAILED, REQUESTS_SERVED, TPOT, TTFT } from "../report/metrics.ts";
import type { Settings } from "../report/report.ts";
import { hasPercentile, percentile, summarize } from "../report/stats.ts";
import type { Pace } from "../targets/pacing.ts";
import type { FailedRequest, Served, Serving } from "../targets/target.ts";
import { ownTimes } from "./own_times.ts";

/** The largest number of output tokens that arrived within one second. */
const PEAK_THROUGHPUT: Metric = { id: "peak_throughput", unit: "tok/s" };
/** Requests per second that met all goals. */
const GOODPUT: Metric = { id: "goodput", unit: "req/s" };

const PERCENTILES = [50, 90, 99];

/** What is measured of each request, by its name on the command line. `itl` has a value per gap. */
const MEASURED: Readonly<
  Record<string, { readonly metric: Metric; readonly of: (served: Served) => number[] }>
> = {
  ttft: { metric: TTFT, of: (served) => [ttft(served)] },
  // A single token has no TPOT.
  tpot: { metric: TPOT, of: (served) => served.times.length > 1 ? [tpot(served)] : [] },
  itl: { metric: ITL, of: interTokenLatencies },
  e2el: { metric: E2E, of: (served) => [endToEnd(served)] },
};

/** A load: a number of requests at once, or a request rate. */
interface Load {
  readonly name: string;
  readonly settings: Settings;
  readonly pace: Pace;
}

export const load: Suite = {
  name: "load",
  summary: "a server under load: latency percentiles, goodput and failures",
  endpoint: true,
  needs: ({ prompts, promptTokens, maxTokens }) => ({
    sequences: prompts,
    tokens: promptTokens + maxTokens,
  }),
  options: {
    requestRate: {
      value: "<list>",
      summary:
        "send requests at these rates per second, such as 1,2.5, instead of keeping --concurrency requests running",
      accepts: (text) => text.split(",").every((rate) => isAbove0(rate)),
      expected: "numbers above 0, as in 1,2.5",
    },
    burstiness: {
      value: "<x>",
      summary:
        "how requests of --request-rate arrive; 1: Poisson process; below 1: in bursts; above 1: more evenly (default: 1)",
      accepts: isAbove0,
      expected: "a number above 0",
    },
    goodput: {
      value: "<list>",
      summary:
        "count the requests that meet these limits in ms, such as ttft:500,tpot:50,e2el:5000",
      accepts: (text) => objectives(text) !== undefined,
      expected: "limits in ms of ttft, tpot or e2el, as in ttft:500,tpot:50",
    },
  },
  async run(harness) {
    const { prompts, suiteOptions } = harness.runOptions;
    const loads = loadsOf(harness);
    const requests = harness.requests(harness.prompts(prompts));
    harness.plan(loads.length);
    const all = await harness.interleave(
      loads,
      ({ name }) => name,
      ({ pace }, counts) => {
        // Warm-ups may be shorter.
        const own = counts ? requests : requests.slice(0, pace.concurrency ?? 1);
        return harness.serve(own, { pace });
      },
    );
    const goals = suiteOptions.goodput === undefined
      ? undefined
      : objectives(suiteOptions.goodput)!;
    summary(harness, { loads, all, goals });
    latencies(harness, loads, all);
    ownTimes(
      harness,
      ["Load"],
      loads.map(({ name, settings }, i) => ({ cells: [name], settings, runs: all[i]! })),
    );
  },
  charts: [
    lines("Throughput by requests at once", THROUGHPUT, {
      by: "concurrency",
      xAxis: "requests at once",
    }),
  ],
};

function isAbove0(text: string): boolean {
  return /^(\d+\.?\d*|\.\d+)$/.test(text.trim()) && Number(text) > 0;
}

/** The limits in ms by name; undefined if the text is not a list of limits. */
function objectives(text: string): ReadonlyMap<string, number> | undefined {
  const goals = new Map<string, number>();
  for (const part of text.trim().split(/[\s,]+/)) {
    const [name = "", limit = ""] = part.split(":");
    if (!(name in MEASURED) || name === "itl" || !isAbove0(limit)) return undefined;
    goals.set(name, Number(limit));
  }
  return goals;
}

function loadsOf({ runOptions: { concurrency, seed, suiteOptions } }: Harness): Load[] {
  const { requestRate, burstiness = "1" } = suiteOptions;
  const how = { burstiness: Number(burstiness), seed };
  return requestRate === undefined
    ? concurrency.map((count) => ({
      name: `${count} at once`,
      settings: { concurrency: count },
      pace: { ...how, concurrency: count },
    }))
    : [...new Set(requestRate.split(",").map(Number))].map((rate) => ({
      name: `${rate} req/s`,
      settings: { rate },
      pace: { ...how, rate },
    }));
}

interface Loaded {
  readonly loads: readonly Load[];
  /** The servings of each load, one per repetition. */
  readonly all: readonly (readonly Serving[])[];
  readonly goals: ReadonlyMap<string, number> | undefined;
}

function summary(harness: Harness, { loads, all, goals }: Loaded): void {
  const table = harness.table(
    "Load",
    "Load | Served | Failed | Requests/sec | Tok/sec | Peak tok/s | Goodput (req/s)",
  );
  for (const [i, { name, settings }] of loads.entries()) {
    const runs = all[i]!;
    if (runs.length > 0 && runs.every(({ requests }) => requests.length === 0)) {
      harness.fail(name, reasonsOf(runs.flatMap(failuresOf)));
    }
    const at = harness.at(settings);
    const per = (metric: Metric, of: (run: Serving) => number) => at.measure(metric, runs.map(of));
    table.row(
      name,
      at.value(REQUESTS_SERVED, runs.reduce((sum, { requests }) => sum + requests.length, 0)),
      at.value(REQUESTS_FAILED, runs.reduce((sum, run) => sum + failuresOf(run).length, 0)),
      per(REQUEST_THROUGHPUT, (run) => run.requests.length / duration(run)),
      per(THROUGHPUT, (run) => generated(run) / duration(run)),
      per(PEAK_THROUGHPUT, peak),
      goals === undefined ? "-" : per(GOODPUT, (run) => good(run, goals) / duration(run)),
    );
  }
  table.note(
    "Served and Failed count the requests of all repetitions. Rates are over the time from the first request to the end of the last one, including failed ones. Peak: the most output tokens within one second.",
  );
  if (goals) {
    const limits = [...goals].map(([name, limit]) => `${name.toUpperCase()} ≤ ${limit} ms`);
    table.note(`Goodput counts served requests with ${limits.join(" and ")}.`);
  }
  const failures = all.flat().flatMap(failuresOf);
  if (failures.length > 0) table.note(`**Failed requests: ${reasonsOf(failures)}**`);
}

function failuresOf({ failures = [] }: Serving): readonly FailedRequest[] {
  return failures;
}

/** Seconds from the first request to the end of the last one. */
function duration({ requests, failures = [] }: Serving): number {
  const submitted = [...requests, ...failures].map(({ submitted }) => submitted);
  const ended = [
    ...requests.map(({ times }) => times.at(-1)!),
    ...failures.map(({ ended }) => ended),
  ];
  return (Math.max(...ended) - Math.min(...submitted)) / 1000;
}

/** The largest number of tokens that arrived within one second. */
function peak({ requests }: Serving): number {
  const times = requests.flatMap(({ times }) => times).sort((a, b) => a - b);
  let [most, first] = [0, 0];
  for (const [last, time] of times.entries()) {
    while (times[first]! <= time - 1000) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

/** Number of requests that were within all limits. */
function good({ requests }: Serving, goals: ReadonlyMap<string, number>): number {
  return requests.filter((served) =>
    [...goals].every(([name, limit]) => MEASURED[name]!.of(served).every((ms) => ms <= limit))
  ).length;
}

function latencies(
  harness: Harness,
  loads: readonly Load[],
  all: readonly (readonly Serving[])[],
): void {
  const table = harness.table(
    "Latency under load",
    "Load | Metric | Mean (ms) | Std (ms) | p50 (ms) | p90 (ms) | p99 (ms)",
  );
  for (const [i, { name, settings }] of loads.entries()) {
    const requests = all[i]!.flatMap(({ requests }) => requests);
    for (const [short, { metric, of }] of Object.entries(MEASURED)) {
      const values = requests.flatMap(of);
      if (values.length === 0) {
        table.row(name, short.toUpperCase(), "-", "-", "-", "-", "-");
        continue;
      }
      const { mean, stddev } = summarize(values);
      const at = harness.at(settings);
      table.row(
        name,
        short.toUpperCase(),
        at.value({ id: `${metric.id}_mean`, unit: "ms" }, mean),
        at.value({ id: `${metric.id}_std`, unit: "ms" }, stddev),
        ...PERCENTILES.map((p) =>
          p === 50 || hasPercentile(values.length, p)
            ? harness.at({ ...settings, percentile: p })
              .percentile(metric, percentile(values, p), values.length)
            : `not known: only ${values.length}`
        ),
      );
    }
  }
  table.note(
    "Computed over all served requests of all repetitions; the ITL over all gaps between two tokens. TTFT and E2EL begin when the request is sent.",
  );
}
