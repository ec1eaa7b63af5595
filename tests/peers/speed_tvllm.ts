/** Times tvllm for speed.ts, like speed_llama_cpp.ts: `speed_tvllm.ts gpu|cpu JSON`. */

import { Harness } from "../../bench/harness/harness.ts";
import { DECODE_THROUGHPUT, type Metric, PREFILL_THROUGHPUT } from "../../bench/report/metrics.ts";
import { speed } from "../../bench/suites/speed.ts";
import { EngineTarget } from "../../bench/targets/engine_target.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { loadModel, openGguf } from "../../mod.ts";
import { PROGRAM, RUN } from "../bench/scripted_target.ts";
import { logSoftmax } from "../assert.ts";
import type { Run, SpeedRequest } from "./speed.ts";

const device = Deno.args[0] as "gpu" | "cpu";
const { path, threads, promptTokens, maxTokens, golden }: SpeedRequest = JSON.parse(Deno.args[1]!);
const model = await loadModel(openGguf(path), {
  device,
  contextLength: Math.max(promptTokens + maxTokens + 8, (golden?.length ?? 0) + 8),
  ...(device === "cpu" && { threads }),
});
const promptIds = Array.from({ length: promptTokens }, (_, i) => 100 + i * 7 % 1000);

async function run(): Promise<Run> {
  const request = { promptIds, sampling: GREEDY, maxTokens, stopIds: [] };
  // No run may use the cache of another run.
  const [generation] = await model.withEngine(
    { prefixCacheBlocks: 0 },
    (engine) => engine.generate([request]),
  );
  const { submitted, tokens } = generation!.timings;
  return {
    prompt: 1000 * promptTokens / (tokens[0]! - submitted),
    decode: 1000 * (tokens.length - 1) / (tokens.at(-1)! - tokens[0]!),
  };
}

const target = await EngineTarget.open(model, PROGRAM);

/** Runs one repetition of `bench speed`. */
async function tests(): Promise<Run> {
  const { results } = await Harness.run(speed, target, {
    run: {
      ...RUN,
      ...{ promptTokens, maxTokens, repetitions: 1, warmup: 0 },
      suiteOptions: { promptTokens: `${promptTokens}`, maxTokens: `${maxTokens}` },
    },
  });
  const of = (metric: Metric) => results.find((result) => result.metric === metric.id)!.value;
  return { prompt: of(PREFILL_THROUGHPUT), decode: of(DECODE_THROUGHPUT) };
}

async function logprobs(): Promise<[number, number][][]> {
  const blockTables = [Array.from({ length: Math.ceil(golden!.length / 16) }, (_, i) => i)];
  const rows: [number, number][][] = [];
  for (let start = 0; start < golden!.length; start += 16) {
    const tokens = golden!.slice(start, start + 16);
    const { logits } = await model.runner.submit({
      sequences: [{ slot: 0, tokens, start, blockTables, logits: "all" }],
    }).read();
    rows.push(...logits[0]!.map((row) => [...logSoftmax(row).entries()]));
  }
  return rows;
}

const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
for await (const line of lines) {
  const answers = { golden: logprobs, tests, run };
  console.log(JSON.stringify(await answers[line.trim() as keyof typeof answers]()));
}
await model.close();
