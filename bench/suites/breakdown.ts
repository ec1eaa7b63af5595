/** Shows where the time of a request goes: operations, kernels, overheads and bottlenecks. */

import type { Suite } from "../harness/harness.ts";
import { kernelSteps } from "../harness/kernel_steps.ts";
import { decodeRate, tpot, ttft } from "../harness/timings.ts";
import { bars, DECODE_THROUGHPUT, type Metric, TPOT, TTFT } from "../report/metrics.ts";
import { achieved } from "./achieved.ts";
import { KERNEL_TIME, kernelTables } from "./kernel_table.ts";
import { OPERATION_TIME, operations, TOKENIZER_CASES } from "./operations.ts";
import { overheads } from "./overheads.ts";
import { sampledAsUsual } from "./sampled.ts";
import { stepParts } from "./step_parts.ts";

/** Time of a decode step: the TPOT of requests whose kernels are not timed. */
const DECODE_STEP: Metric = { id: "decode_step", unit: "ms", headline: true };

export const breakdown: Suite = {
  name: "breakdown",
  summary: "where the time goes, from loading to each kernel",
  summaryColumns: [
    { title: "Gen Speed", metric: DECODE_THROUGHPUT.id },
    { title: "Decode step (ms)", metric: DECODE_STEP.id },
    { title: "Kernels", metric: "kernels_share" },
  ],
  needs: ({ promptTokens, maxTokens }) => ({ sequences: 1, tokens: promptTokens + maxTokens }),
  async run(harness) {
    const { target, runOptions: { promptTokens, maxTokens } } = harness;
    const prompts = harness.prompts(1);
    const requests = harness.requests(prompts);
    harness.step("first request");
    const compiledBefore = target.hasServed;
    const cold = await harness.serve(requests);
    const ways = [
      { name: "request", requests, profile: false },
      ...(target.hasTimestamps
        ? [{ name: "request, kernels timed", requests, profile: true }]
        : []),
      ...(target.hasTimestamps
        ? sampledAsUsual(harness, prompts).map((own) => ({
          name: "sampled request, kernels timed",
          requests: own,
          profile: true,
        }))
        : []),
    ];
    harness.plan(ways.length + TOKENIZER_CASES);
    const [runs = [], profiled = [], drawn = []] = await harness.interleave(
      ways,
      ({ name }) => name,
      ({ requests, profile }) => harness.serve(requests, { profile }),
    );
    const [timed, sampled] = [kernelSteps(profiled), kernelSteps(drawn)];
    const served = runs.map((serving) => serving.requests[0]!);
    const steps = served.map(tpot);
    const at = harness.at();
    const step = at.measure(DECODE_STEP, steps);
    const decode = at.measure(DECODE_THROUGHPUT, served.map(decodeRate), harness.limit(1));
    await operations(harness, { runs, timed, sampled, steps, decode });
    achieved(harness, {
      ...{ promptTokens, maxTokens, decode },
      first: at.measure(TTFT, served.map(ttft)),
      perToken: at.measure(TPOT, steps),
    });
    const share = kernelTables(harness, timed, step.value);
    stepParts(harness, timed, step.value);
    await overheads(harness, {
      cold: compiledBefore ? undefined : cold,
      ...{ runs, timed, step: step.value, share },
    });
  },
  charts: [
    bars("Operations of one request, time per call", OPERATION_TIME, { by: "operation" }),
    bars("Kernels of the decode steps, total time", KERNEL_TIME, { by: "kernel" }),
    bars("Kernels of the prompt, total time", KERNEL_TIME, {
      by: "kernel",
      where: { phase: "prefill" },
    }),
    {
      kind: "roofline",
      title: "Roofline with the kernels of this run",
      metric: "kernel_rate",
      by: "kernel",
      series: "phase",
    },
  ],
};
