/** The table of metrics over all scenarios: loading, memory, and how speed depends on length. */

import { linearRegression, mean, standardDeviation } from "simple-statistics";
import type { Harness } from "../harness/harness.ts";
import { kernelSteps } from "../harness/kernel_steps.ts";
import type { Content } from "../harness/recorder.ts";
import { ttft } from "../harness/timings.ts";
import {
  COMPILE_TIME,
  CV,
  DEVICE_MEMORY,
  DISPATCH_OVERHEAD,
  KERNELS_SHARE,
  LOAD_TIME,
  type Metric,
  PEAK_RSS,
} from "../report/metrics.ts";
import type { Result } from "../report/report.ts";
import { summarize } from "../report/stats.ts";
import { type BenchRequest, bufferBytes, type Serving } from "../targets/target.ts";

/** The slope of the TTFT over the length of the prompt. */
const PREFILL_SCALING: Metric = { id: "prefill_scaling", unit: "ms/token" };
/** The mean over the scenarios of the CV of their repetitions. */
const REPETITIONS_CV: Metric = { id: "repetitions_cv", unit: "%" };

/** The measurements of a scenario that the table uses. */
interface Measured {
  readonly scenario: { readonly promptTokens: number };
  readonly first: Result;
  readonly decode: Result;
}

export interface Analysed {
  /** The very first request; undefined if the kernels were compiled before it. */
  readonly cold: Serving | undefined;
  readonly measured: readonly Measured[];
  /** The requests of the first scenario, to be run with timed kernels. */
  readonly request: readonly BenchRequest[];
}

/** Adds the table. */
export async function analysis(harness: Harness, analysed: Analysed): Promise<void> {
  const { measured } = analysed;
  const { target, report: { limits } } = harness;
  const memory = target.memory();
  const buffers = bufferBytes(memory);
  const utilized = await utilization(harness, analysed.request);
  const isEndpoint = target.environment.endpoint !== undefined;
  const table = harness.table("Metrics", "Metric | Value | Description | Ideal");
  const at = harness.at();
  type Row = readonly [string, Content, string, string];
  // Not known for an endpoint.
  const inside: readonly Row[] = isEndpoint ? [] : [
    [
      "Compile time",
      compileTime(harness, analysed),
      "First TTFT minus the later ones",
      "0",
    ],
    [
      "Weight load time",
      harness.at({ part: "weights" }).value(LOAD_TIME, target.loadTimes.weights),
      "Reading the weights and uploading them",
      "File size divided by the upload rate",
    ],
    [
      "Peak memory",
      at.value(PEAK_RSS, memory.peakRss),
      "Peak RSS of the process, as reported by the system (getrusage)",
      "Weights and KV cache",
    ],
    ...(buffers === undefined ? [] : [
      [
        "Device memory",
        harness.at({ purpose: "total" }).value(DEVICE_MEMORY, buffers),
        "All buffers on the device, at the end",
        "Weights and KV cache",
      ] as const,
    ]),
  ];
  const rows: readonly Row[] = [
    ...inside,
    [
      "Prefill scaling (ms/token)",
      prefillScaling(harness, measured),
      "TTFT increase per prompt token: the slope of a line through all scenarios",
      "Linear",
    ],
    [
      "Decode TPS CV",
      measured.length < 2
        ? "not known: only one scenario"
        : at.value(CV, variation(measured.map(({ decode }) => decode.value))),
      "Coefficient of variation across scenarios (population)",
      "~0%",
    ],
    [
      "Repetitions CV",
      repetitions(harness, measured),
      "Variation between repetitions, averaged over the scenarios: the noise of the machine",
      "~0%",
    ],
    ...(isEndpoint ? [] : [
      ["GPU utilization", utilized, "Kernel time as a share of S1's decode steps", ">95%"],
      [
        "Kernel overhead (us/kernel)",
        limits === null
          ? "not measured: there is no device"
          : at.value(DISPATCH_OVERHEAD, limits.dispatch),
        "Cost of a dispatch in a series of them, measured by the probe",
        "<10 us",
      ],
    ] as readonly Row[]),
  ];
  for (const row of rows) table.row(...row);
}

function compileTime(harness: Harness, { cold, measured: [first] }: Analysed): Content {
  if (cold === undefined) return "not known: the kernels were already compiled";
  if (first === undefined) return "not known: no scenario fits";
  const compile = ttft(cold.requests[0]!) - first.first.value;
  return compile > 0
    ? harness.at().value(COMPILE_TIME, compile)
    : "none: the first request was as fast";
}

function prefillScaling(harness: Harness, measured: readonly Measured[]): Content {
  const points = measured.map(({ scenario, first }) => [scenario.promptTokens, first.value]);
  return points.length < 2
    ? "not known: only one length"
    : harness.at().value(PREFILL_SCALING, linearRegression(points).m);
}

/** Population standard deviation divided by the mean, in %. */
function variation(values: readonly number[]): number {
  return 100 * standardDeviation([...values]) / mean([...values]);
}

function repetitions(harness: Harness, measured: readonly Measured[]): Content {
  if (harness.runOptions.repetitions < 2) return "not known: only one repetition";
  const variations = measured.map(({ decode }) => variation(decode.samples!));
  return harness.at().value(REPETITIONS_CV, summarize(variations).mean);
}

/** Number of cases that the analysis measures: one with timed kernels, if there are timestamps. */
export function analysisCases({ target }: Harness): number {
  return target.hasTimestamps ? 1 : 0;
}

/** The kernels' share of the decode steps of S1. */
async function utilization(harness: Harness, request: readonly BenchRequest[]): Promise<Content> {
  if (analysisCases(harness) === 0) return "not measured: no timestamps";
  const runs = await harness.repeat("utilization", request, { profile: true });
  const { shares } = kernelSteps(runs);
  if (shares.length === 0) return "not known: too few steps";
  return harness.at().measure(KERNELS_SHARE, shares.map((share) => 100 * share));
}
