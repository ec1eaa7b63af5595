/**
 * Measures what llama-bench does: prompts, decoding and both, at any depth, with their shares of
 * the limit.
 */

import { RequestError } from "../../engine/errors.ts";
import { BLOCK_TOKENS } from "../../engine/run/runner.ts";
import type { Harness, Suite } from "../harness/harness.ts";
import { hashOf } from "../harness/output_check.ts";
import { makePrompts, randomPrompt } from "../harness/prompts.ts";
import { parseSweep, sweepOption } from "../harness/sweep.ts";
import { decodeRate, endToEnd, prefillRate, ttft } from "../harness/timings.ts";
import type { TableWriter } from "../harness/recorder.ts";
import { bytes, count } from "../report/format.ts";
import {
  bars,
  DECODE_THROUGHPUT,
  DEVICE_MEMORY,
  type Metric,
  OF_LIMIT,
  PEAK_RSS,
  PREFILL_THROUGHPUT,
  TOTAL_THROUGHPUT,
  TTFT,
} from "../report/metrics.ts";
import type { Report, RunOptions, Settings } from "../report/report.ts";
import { bufferBytes, type Served, type Serving, type Session } from "../targets/target.ts";

const DEPTHS = { least: 0, most: 2 ** 20 };
const BATCHES = { least: 1, most: 2 ** 20 };
/** Distance between the seeds of different cells, and of warm-ups and repetitions within a cell. */
const CELL_SEEDS = 2 ** 11;
const WARM_UP_SEED = 2 ** 10;

/** A row of the table. */
interface Cell {
  readonly name: string;
  /** Tokens in the cache before the test. */
  readonly depth: number;
  /** Maximum number of prompt tokens per step; undefined: the maximum of the backend. */
  readonly batch: number | undefined;
  readonly promptTokens: number;
  /** Tokens decoded after the first one, which is counted as part of the prompt. */
  readonly decoded: number;
  readonly metric: Metric;
}

export const speed: Suite = {
  name: "speed",
  summary: "prefill and decode speed by length, as in llama-bench",
  endpoint: true,
  stackedTable: "Speed",
  sweeps: { promptTokens: "512", maxTokens: "128" },
  options: {
    pg: {
      value: "<p+n,…>",
      summary: "also test a prompt of p tokens followed by an answer of n tokens, such as 512+128",
      accepts: (text) => pairs(text).every(([p, n]) => p > 0 && n > 0),
      expected: "lengths of a prompt and of its answer, as in 512+128",
    },
    depth: sweepOption(
      "tokens that are already in the KV cache when a test begins, such as 0,4096",
      DEPTHS,
    ),
    batch: sweepOption("maximum number of prompt tokens per step", BATCHES),
  },
  needs: (run) => {
    const cells = cellsOf(run);
    if (cells.length === 0) {
      throw new RequestError(
        "Cannot run bench speed without a test: give -p or -n a length above 0, or add --pg",
      );
    }
    return { sequences: 1, tokens: Math.max(...cells.map(tokensOf)) };
  },
  async run(harness) {
    const table = harness.table(
      "Speed",
      "Model | Size | Params | Backend | Threads | Differs | Test | t/s | TTFT (ms) | Peak memory | % of limit | Output check",
    );
    const groups = Map.groupBy(
      cellsOf(harness.runOptions),
      ({ depth, batch }) => `${depth} ${batch}`,
    );
    const isServer = harness.target.environment.endpoint !== undefined;
    harness.plan(cellsOf(harness.runOptions).length);
    for (const cells of groups.values()) await measureAll(harness, cells, table);
    table.note(
      `t/s for pp: prompt tokens per second until the first token, including its sampling and transfer to the host; for tg: tokens decoded after the first; for both: all tokens over the total time. Prompts are ${
        isServer ? "English text" : "random ids"
      }; @ d: d tokens are already in the cache.`,
      isServer
        ? "Tokens are counted by the server, without cached prompt tokens if it reports them; otherwise they are the requested numbers."
        : "Peak memory: the buffers on the device so far, or the process if the buffers are not counted.",
    );
  },
  charts: [
    bars("Prompts", PREFILL_THROUGHPUT, { by: "test", series: "batch" }),
    bars("Decoding", DECODE_THROUGHPUT, { by: "test", series: "batch" }),
  ],
};

/** Lengths of prompts and answers; 0 if a part of the text is invalid. */
function pairs(text: string): [number, number][] {
  return text.split(",").map((part) => {
    const [, p = 0, n = 0] = /^(\d{1,7})\+(\d{1,7})$/.exec(part.trim()) ?? [];
    return [Number(p), Number(n)];
  });
}

/**
 * The rows for these options: all tests at each depth, with each batch size. Each is listed once,
 * even if it was asked for twice, or if two depths were rounded to the same one.
 */
function cellsOf(run: RunOptions): Cell[] {
  const { promptTokens, maxTokens, suiteOptions } = run;
  const list = (name: string, otherwise: readonly number[]) => {
    const text = suiteOptions[name];
    return text === undefined ? otherwise : parseSweep(text, DEPTHS);
  };
  const tests: Pick<Cell, "name" | "promptTokens" | "decoded" | "metric">[] = [
    ...list("promptTokens", [promptTokens]).filter((p) => p > 0).map((p) => ({
      name: `pp${p}`,
      promptTokens: p,
      decoded: 0,
      metric: PREFILL_THROUGHPUT,
    })),
    ...list("maxTokens", [maxTokens]).filter((n) => n > 0).map((n) => ({
      name: `tg${n}`,
      promptTokens: 1,
      decoded: n,
      metric: DECODE_THROUGHPUT,
    })),
    ...(suiteOptions.pg === undefined ? [] : pairs(suiteOptions.pg)).map(([p, n]) => ({
      name: `pp${p}+tg${n}`,
      promptTokens: p,
      decoded: n,
      metric: TOTAL_THROUGHPUT,
    })),
  ];
  const batches = suiteOptions.batch === undefined ? [undefined] : list("batch", []);
  const cells = list("depth", [0]).flatMap((asked) => {
    // Only whole blocks are shared.
    const depth = Math.floor(asked / BLOCK_TOKENS) * BLOCK_TOKENS;
    return batches.flatMap((batch) =>
      tests.map((test) => ({
        ...test,
        name: test.name + (depth === 0 ? "" : ` @ d${depth}`),
        depth,
        batch,
      }))
    );
  });
  return [...new Map(cells.map((cell) => [titleOf(cell), cell])).values()];
}

/** Length of a cell's sequence at its end, in tokens. */
function tokensOf({ depth, promptTokens, decoded }: Cell): number {
  return depth + promptTokens + decoded + 1;
}

/** Measures cells with the same depth and batch size, which share the tokens in the cache. */
async function measureAll(
  harness: Harness,
  cells: readonly Cell[],
  table: TableWriter,
): Promise<void> {
  const { depth, batch } = cells[0]!;
  let done = 0;
  const options = { sharePrefixes: depth > 0, ...(batch !== undefined && { batchTokens: batch }) };
  const before = promptOf(harness, depth, harness.runOptions.seed);
  try {
    await harness.withSession(options, async (session) => {
      for (const cell of cells) {
        const contextLength = harness.report.environment.model.contextLength;
        if (tokensOf(cell) > contextLength) {
          harness.begin(titleOf(cell));
          failed(harness, cell, {
            table,
            reason: `it needs a context of ${
              tokensOf(cell)
            } tokens, but the model was loaded with ${contextLength} (see -c)`,
          });
        } else {
          if (depth > 0) await fill(harness, session, before);
          const seeds = harness.runOptions.seed + CELL_SEEDS * (1 + done);
          await measure(harness, cell, { session, before, seeds, table });
        }
        done++;
      }
    });
  } catch (error) {
    if (harness.options.signal?.aborted) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    // The session has ended, so the remaining cells, which share it, fail too.
    for (const cell of cells.slice(done)) failed(harness, cell, { table, reason });
  }
}

/** Fills the cache with these tokens; those that it has already are not computed again. */
async function fill(harness: Harness, session: Session, before: readonly number[]): Promise<void> {
  harness.step(`filling the cache to a depth of ${before.length}`);
  await session.serve([{ promptIds: before, maxTokens: 1 }]);
}

interface Measuring {
  readonly session: Session;
  /** The tokens in the cache. */
  readonly before: readonly number[];
  /** The first seed of the cell's prompts. */
  readonly seeds: number;
  readonly table: TableWriter;
}

async function measure(
  harness: Harness,
  cell: Cell,
  { session, before, seeds, table }: Measuring,
): Promise<void> {
  const { promptTokens, decoded } = cell;
  let [counted, warm] = [0, 0];
  const [servings] = await harness.interleave([cell], titleOf, async (_, counts) => {
    // Each run has a new prompt, so that none is in the cache.
    const seed = seeds + (counts ? counted++ : WARM_UP_SEED + warm++);
    const promptIds = [...before, ...promptOf(harness, promptTokens, seed)];
    const serving = await session.serve([{ promptIds, maxTokens: decoded + 1 }]);
    checkDepth(harness, cell, serving);
    return serving;
  });
  const served = servings!.map(({ requests }) => requests[0]!);
  const at = harness.at(settingsOf(cell));
  const rate = (one: Served) =>
    cell.metric === PREFILL_THROUGHPUT
      ? prefillRate(one, enteredTokens(one, cell))
      : cell.metric === DECODE_THROUGHPUT
      ? decodeRate(one)
      : 1000 * (enteredTokens(one, cell) + one.ids.length - 1) / endToEnd(one);
  const limit = limitOf(harness, cell);
  const result = at.measure(cell.metric, served.map(rate), limit);
  const use = harness.target.memory();
  const buffers = bufferBytes(use);
  const row = [...describe(harness.report, cell), result, at.measure(TTFT, served.map(ttft))];
  if (harness.target.environment.endpoint) return table.row(...row, "-", "-", "-");
  table.row(
    ...row,
    buffers === undefined
      ? at.value(PEAK_RSS, use.peakRss)
      : harness.at({ ...settingsOf(cell), purpose: "total" }).value(DEVICE_MEMORY, buffers),
    limit === undefined ? "-" : at.value(OF_LIMIT, 100 * result.value / limit),
    hashOf(served.map(({ ids }) => ids.join(",")).join("\n")),
  );
}

/** A prompt of random ids, or of text for a server, which accepts no ids. */
function promptOf(harness: Harness, tokens: number, seed: number): number[] {
  const { target, report: { environment } } = harness;
  return environment.endpoint
    ? makePrompts(target.text, { count: tokens === 0 ? 0 : 1, tokens, seed }).flat()
    : randomPrompt(environment.model.vocabSize, { tokens, seed });
}

/** Number of tokens of the prompt that were computed. */
function enteredTokens({ promptTokens, cachedTokens }: Served, cell: Cell): number {
  return promptTokens === undefined
    ? cell.promptTokens
    : promptTokens - (cachedTokens ?? cell.depth);
}

/** Share of the depth that a server must have cached: it counts tokens differently. */
const SERVER_DEPTH = 0.8;

/** @throws {RangeError} if the cache did not have the tokens of the depth. */
function checkDepth(harness: Harness, { depth }: Cell, { requests, blocks }: Serving): void {
  if (harness.target.environment.endpoint) {
    const { cachedTokens = depth } = requests[0]!;
    if (cachedTokens >= SERVER_DEPTH * depth) return;
    throw new RangeError(`the server's cache had ${cachedTokens} of ${depth} tokens`);
  }
  const cached = blocks.hits * BLOCK_TOKENS;
  if (cached === depth) return;
  throw new RangeError(`the cache had ${cached} of ${depth} tokens; raise --kv-memory`);
}

/** Upper limit of the cell's tokens per second, from the probe. */
function limitOf(harness: Harness, { promptTokens, decoded, depth, metric }: Cell) {
  const prompt = harness.prefillLimit(promptTokens, depth);
  const decode = harness.limit(1, depth + promptTokens, decoded);
  if (prompt === undefined || decode === undefined) return undefined;
  if (metric === PREFILL_THROUGHPUT) return prompt;
  if (metric === DECODE_THROUGHPUT) return decode;
  return (promptTokens + decoded) / (promptTokens / prompt + decoded / decode);
}

function failed(
  harness: Harness,
  cell: Cell,
  { table, reason }: { readonly table: TableWriter; readonly reason: string },
): void {
  harness.fail(titleOf(cell), reason);
  table.row(...describe(harness.report, cell), `failed: ${reason}`, "-", "-", "-", "-");
}

/** The columns before the measured ones. */
function describe({ environment }: Report, cell: Cell): string[] {
  const { model, device, host, engine, endpoint } = environment;
  if (endpoint) return [model.name, "-", "-", device.description, "-", "-", cell.name];
  const differs = [
    ...(engine.kvType === "f16" ? [] : [`kv ${engine.kvType}`]),
    ...(cell.batch === undefined ? [] : [`batch ${cell.batch}`]),
  ];
  return [
    `${model.name} ${model.formats[0]}`,
    bytes(model.tensorBytes).replace(/ \(.*/, ""),
    `${count(Math.round(model.parameters / 1e4) / 100)} M`,
    device.kind === "cpu" ? "CPU" : `${device.api}, ${device.description}`,
    String(host.threads),
    differs.join(", ") || "-",
    cell.name,
  ];
}

function settingsOf({ name, batch }: Cell): Settings {
  return { test: name, ...(batch !== undefined && { batch }) };
}

function titleOf({ name, batch }: Cell): string {
  return batch === undefined ? name : `${name}, batch ${batch}`;
}
