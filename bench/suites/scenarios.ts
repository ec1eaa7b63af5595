/** Measures six requests, from a short question to a long story, each alone on the device. */

import { type Harness, type Suite } from "../harness/harness.ts";
import { decodeRate, prefillRate, tpot, ttft } from "../harness/timings.ts";
import {
  bars,
  DECODE_THROUGHPUT,
  lines,
  type Metric,
  PREFILL_THROUGHPUT,
  TPOT,
  TTFT,
} from "../report/metrics.ts";
import type { Result } from "../report/report.ts";
import { pairedRatios } from "../report/stats.ts";
import type { Served, Serving, Target } from "../targets/target.ts";
import { achieved } from "./achieved.ts";
import { analysis, analysisCases } from "./scenario_analysis.ts";
import { plural } from "../../engine/plural.ts";

/** Decode rate of the last tokens up to `tokens`, or of the single token `token`. */
const STEP_THROUGHPUT: Metric = { id: "step_throughput", unit: "tok/s" };
/** Speed of this device relative to the baseline. */
const TTFT_RATIO: Metric = { id: "ttft_ratio", unit: "x" };
const DECODE_RATIO: Metric = { id: "decode_throughput_ratio", unit: "x" };
const PREFILL_RATIO: Metric = { id: "prefill_throughput_ratio", unit: "x" };

/** Lengths of the prompt and of the answer in tokens. */
const SCENARIOS = [
  { scenario: "S1", promptTokens: 16, maxTokens: 32 },
  { scenario: "S2", promptTokens: 64, maxTokens: 64 },
  { scenario: "S3", promptTokens: 256, maxTokens: 128 },
  { scenario: "S4", promptTokens: 512, maxTokens: 256 },
  { scenario: "S5", promptTokens: 1024, maxTokens: 128 },
  { scenario: "S6", promptTokens: 64, maxTokens: 512 },
] as const;

export type Scenario = typeof SCENARIOS[number];

const DESCRIPTIONS: Readonly<Record<Scenario["scenario"], string>> = {
  S1: "Minimal load (overhead ratio)",
  S2: "Short conversation",
  S3: "Medium conversation",
  S4: "Long context",
  S5: "Long document summarization (prefill-heavy)",
  S6: "Short question, long response (decode-heavy)",
};

/** Answers in warm-ups are shorter, as long answers need no other kernels. */
const WARM_UP_TOKENS = 32;

/** Steps of S6 per row of the table; the chart has every step. */
const BUCKET = 32;

/** The measurements of a scenario. */
export interface Measured {
  readonly scenario: Scenario;
  readonly served: readonly Served[];
  readonly first: Result;
  readonly decode: Result;
  readonly prefill: Result;
}

const COLUMNS = "ID | Description | Prompt | Decode | TTFT (ms) | Decode TPS | Prefill TPS";

export const scenarios: Suite = {
  name: "scenarios",
  summary: "six typical kinds of request, from a question to a story",
  endpoint: true,
  summaryColumns: SCENARIOS.map((scenario) => ({
    title: `${scenario.scenario} (tok/s)`,
    metric: DECODE_THROUGHPUT.id,
    settings: scenario,
  })),
  options: {
    baseline: {
      value: "<device>",
      summary: "also run on this device (cpu), for comparison",
      accepts: (text) => text === "cpu",
      expected: "cpu",
    },
  },
  needs: ({ suiteOptions }) => ({
    sequences: 1,
    tokens: Math.max(...SCENARIOS.map((one) => one.promptTokens + one.maxTokens)),
    ...(suiteOptions.baseline !== undefined && { baseline: "cpu" }),
  }),
  async run(harness) {
    const { target, runOptions: { suiteOptions } } = harness;
    const compiled = target.hasServed;
    harness.step("first request");
    const cold = await harness.serve(requestOf(harness, SCENARIOS[0]));
    const baseline = suiteOptions.baseline === undefined
      ? undefined
      : await harness.options.baseline!();
    const able = SCENARIOS.filter((one) => harness.fits(one.promptTokens, one.maxTokens));
    const left = SCENARIOS.filter((one) => !able.includes(one));
    harness.plan(able.length * (baseline === undefined ? 1 : 2) + analysisCases(harness));
    const { measured, theirs } = await measure(harness, able, baseline);
    if (left.length > 0) {
      const { contextLength } = harness.report.environment.model;
      harness.report.tables.at(-1)!.notes.push(
        `Left out because the context has only ${contextLength} ${
          plural(contextLength, "token")
        }: ${left.map(({ scenario }) => scenario).join(", ")}.`,
      );
    }
    const [first] = measured;
    if (first !== undefined) {
      achieved(harness, {
        ...first,
        ...first.scenario,
        perToken: harness.at(first.scenario).measure(TPOT, first.served.map(tpot)),
      });
    }
    await analysis(harness, {
      cold: compiled ? undefined : cold,
      measured,
      request: requestOf(harness, SCENARIOS[0]),
    });
    const last = measured.find(({ scenario }) => scenario.scenario === "S6");
    if (last !== undefined) bySteps(harness, last.served);
    if (baseline !== undefined) against(harness, baseline, { measured, theirs });
  },
  charts: [
    lines("Time to the first token by length of the prompt", TTFT, {
      by: "promptTokens",
      series: "baseline",
      xAxis: "tokens of the prompt",
    }),
    lines("Decoding of S6 by step", STEP_THROUGHPUT, { by: "token", xAxis: "tokens decoded" }),
    bars("Prefill by scenario", PREFILL_THROUGHPUT, { by: "scenario", series: "baseline" }),
    bars("Decoding by scenario", DECODE_THROUGHPUT, { by: "scenario", series: "baseline" }),
  ],
};

/** Measures all scenarios on this device and on the baseline, interleaved. */
async function measure(
  harness: Harness,
  able: readonly Scenario[],
  baseline: Target | undefined,
): Promise<{ measured: Measured[]; theirs: Measured[] }> {
  const table = harness.table("Scenarios", COLUMNS);
  const measured: Measured[] = [];
  const theirs: Measured[] = [];
  for (const scenario of able) {
    const { scenario: id, promptTokens, maxTokens } = scenario;
    const whole = requestOf(harness, scenario);
    const short = whole.map((one) => ({
      ...one,
      maxTokens: Math.min(maxTokens, WARM_UP_TOKENS),
    }));
    const ways = [undefined, ...(baseline === undefined ? [] : [baseline])];
    const [runs = [], others = []] = await harness.interleave(
      ways,
      (target) => target === undefined ? id : `${id} on the ${target.environment.device.kind}`,
      (target, counts) => {
        const requests = counts ? whole : short;
        return target === undefined
          ? harness.serve(requests)
          : target.withSession({}, (session) => session.serve(requests));
      },
    );
    const own = record(harness, scenario, { runs });
    measured.push(own);
    if (baseline !== undefined) {
      theirs.push(
        record(harness, scenario, { runs: others, baseline: baseline.environment.device.kind }),
      );
    }
    table.row(
      id,
      DESCRIPTIONS[id],
      promptTokens,
      maxTokens,
      own.first,
      own.decode,
      own.prefill,
    );
  }
  return { measured, theirs };
}

function requestOf(harness: Harness, { promptTokens, maxTokens }: Scenario) {
  return harness.requests(harness.prompts(1, promptTokens), maxTokens);
}

function record(
  harness: Harness,
  scenario: Scenario,
  { runs, baseline }: { readonly runs: readonly Serving[]; readonly baseline?: string },
): Measured {
  const { promptTokens, maxTokens } = scenario;
  const served = runs.map(({ requests }) => requests[0]!);
  const prefill = served.map((one) => prefillRate(one, promptTokens));
  const at = harness.at({ ...scenario, ...(baseline !== undefined && { baseline }) });
  // The limits are those of this device, not of the baseline.
  const [decodeLimit, prefillLimit] = baseline === undefined
    ? [harness.limit(1, promptTokens, maxTokens), harness.prefillLimit(promptTokens)]
    : [];
  return {
    scenario,
    served,
    first: at.measure(TTFT, served.map(ttft)),
    decode: at.measure(DECODE_THROUGHPUT, served.map(decodeRate), decodeLimit),
    prefill: at.measure(PREFILL_THROUGHPUT, prefill, prefillLimit),
  };
}

/** Adds the table of the decode speed of S6 as its text grows. */
function bySteps(harness: Harness, served: readonly Served[]): void {
  const table = harness.table("Decoding of S6", "Tokens | Decode TPS");
  const times = served.map((one) => one.times);
  const last = times[0]!.length - 1;
  const rates = (start: number, end: number) =>
    times.map((own) => 1000 * (end - start) / (own[end]! - own[start]!));
  for (let start = 0; start < last; start += BUCKET) {
    const tokens = Math.min(start + BUCKET, last);
    table.row(tokens, harness.at({ tokens }).measure(STEP_THROUGHPUT, rates(start, tokens)));
  }
  // The tokens of chained steps arrive together, so some steps have no time of their own.
  for (let token = 1; token <= last; token++) {
    const own = rates(token - 1, token).filter(Number.isFinite);
    if (own.length > 0) harness.at({ token }).measure(STEP_THROUGHPUT, own);
  }
  table.note(
    `Each row is for the ${BUCKET} tokens up to this one, the last row for those that are left. The chart and the JSON have every step.`,
  );
}

/** Adds the table that compares this device with the baseline. */
function against(
  harness: Harness,
  target: Target,
  { measured, theirs }: {
    readonly measured: readonly Measured[];
    readonly theirs: readonly Measured[];
  },
): void {
  const { kind } = target.environment.device;
  const table = harness.table(`Against the ${kind.toUpperCase()} backend`, COLUMNS);
  for (const [i, ours] of measured.entries()) {
    const { scenario: { scenario: id, promptTokens, maxTokens } } = ours;
    const other = theirs[i]!;
    const at = harness.at({ ...ours.scenario, baseline: kind });
    const sizes = [promptTokens, maxTokens];
    const ratio = (metric: Metric, of: "first" | "decode" | "prefill") => {
      const [a, b] = [ours[of].samples!, other[of].samples!];
      return of === "first"
        ? at.ratio(metric, pairedRatios(b, a))
        : at.ratio(metric, pairedRatios(a, b));
    };
    table.row(
      `${id} ${kind}`,
      DESCRIPTIONS[id],
      ...sizes,
      other.first,
      other.decode,
      other.prefill,
    );
    table.row(
      `${id} ratio`,
      "How many times as fast",
      ...sizes,
      ratio(TTFT_RATIO, "first"),
      ratio(DECODE_RATIO, "decode"),
      ratio(PREFILL_RATIO, "prefill"),
    );
  }
  const { device: { description }, host: { threads } } = target.environment;
  table.note(
    `Ratio: how many times as fast this device is as tvllm's own ${kind.toUpperCase()} backend (${description}, ${threads} ${
      plural(threads, "thread")
    }), in the same repetition. Other programs may use the processor better.`,
  );
}
