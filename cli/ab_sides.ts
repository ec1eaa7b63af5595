/** The two sides of `bench ab`. Both serve the same request repeatedly, in interleaved runs. */

import { hashOf } from "../bench/harness/output_check.ts";
import { makePrompts } from "../bench/harness/prompts.ts";
import type { Measured, Race } from "../bench/harness/race.ts";
import { Recorder } from "../bench/harness/recorder.ts";
import { decodeRate, endToEnd, prefillRate, tpot, ttft } from "../bench/harness/timings.ts";
import {
  DECODE_THROUGHPUT,
  E2E,
  type Metric,
  PREFILL_THROUGHPUT,
  TPOT,
  TTFT,
} from "../bench/report/metrics.ts";
import type { Environment, Report, RunOptions } from "../bench/report/report.ts";
import type { EngineTarget } from "../bench/targets/engine_target.ts";
import type { Served } from "../bench/targets/target.ts";
import { answerTooLong } from "../engine/run/sequence.ts";

const METRICS: readonly Metric[] = [E2E, TTFT, TPOT, DECODE_THROUGHPUT, PREFILL_THROUGHPUT];

/** One of the two configurations that `bench ab` compares. */
export interface Side {
  readonly name: string;
  readonly environment: Environment;
  /** Serves the request once. */
  serve(): Promise<Served>;
  close(): Promise<void>;
}

/** Runs a side and writes its report. Keeps the token ids of the last run for the output hash. */
export class Racer {
  #ids: readonly number[] = [];

  constructor(readonly side: Side, readonly options: RunOptions) {}

  async run(): Promise<Measured> {
    const served = await this.side.serve();
    this.#ids = served.ids;
    return {
      [E2E.id]: endToEnd(served),
      [TTFT.id]: ttft(served),
      [TPOT.id]: tpot(served),
      [DECODE_THROUGHPUT.id]: decodeRate(served),
      [PREFILL_THROUGHPUT.id]: prefillRate(served, this.options.promptTokens),
    };
  }

  report(samples: Race["a"], interleaved: NonNullable<Report["interleaved"]>): Report {
    const { side: { environment }, options } = this;
    const recorder = new Recorder({
      suite: { name: "ab", charts: [] },
      environment,
      run: { ...options, repetitions: samples[E2E.id]!.length },
      limits: null,
    }, undefined);
    for (const metric of METRICS) recorder.at().measure(metric, samples[metric.id]!);
    return {
      ...recorder.report,
      complete: true,
      warnings: [], // A drift affects both sides alike, as their runs are interleaved.
      outputHash: hashOf(this.#ids.join(",")),
      interleaved,
    };
  }
}

/** Returns a side that runs a model in this process. Each run uses a new engine. */
export function engineSide(
  name: string,
  target: EngineTarget,
  { promptTokens, maxTokens, seed }: RunOptions,
): Side {
  const { environment } = target;
  checkLength({ promptTokens, maxTokens }, environment.model.contextLength);
  const [promptIds] = makePrompts(target.text, { count: 1, tokens: promptTokens, seed });
  return {
    name,
    environment,
    serve: async () => {
      const { requests } = await target.withSession(
        {},
        (session) => session.serve([{ promptIds: promptIds!, maxTokens }]),
      );
      return requests[0]!;
    },
    close: () => target.model.close(),
  };
}

/** @throws {RequestError} if the prompt and the answer do not fit into the context. */
export function checkLength(
  lengths: Pick<RunOptions, "promptTokens" | "maxTokens">,
  contextLength: number,
): void {
  if (lengths.promptTokens + lengths.maxTokens <= contextLength) return;
  throw answerTooLong(lengths, contextLength);
}
