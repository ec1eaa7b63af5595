/** Token ids to text as they come: our incremental way against decoding what is not printed yet. */

import { type Harness, type Suite } from "../harness/harness.ts";
import { text } from "../report/format.ts";
import { lines, type Metric } from "../report/metrics.ts";
import { medianOf, summarize } from "../report/stats.ts";
import type { BenchText } from "../targets/target.ts";

const DETOKENIZE_TIME: Metric = { id: "detokenize_time", unit: "ms" };
/** Of streaming over decode(). */
const STREAMING_SPEEDUP: Metric = { id: "streaming_speedup", unit: "x" };
const STREAMING_SPEEDUP_MEAN: Metric = { id: "streaming_speedup_mean", unit: "x" };
/** Of so many instances, and of one. */
const CREATION_TIME: Metric = { id: "creation_time", unit: "ms" };
const CREATION_TIME_EACH: Metric = { id: "creation_time_each", unit: "us" };
const DETOKENIZE_THROUGHPUT: Metric = { id: "detokenize_throughput", unit: "tok/s" };
const DETOKENIZE_REQUESTS: Metric = { id: "detokenize_requests", unit: "req/s" };

const SEQUENCES = [
  ["Short", 8],
  ["Medium", 103],
  ["Long", 511],
  ["1K", 1191],
  ["2K", 2381],
  ["4K", 4761],
] as const;

const CREATIONS = 100;
const REQUESTS = 20;
const REQUEST_TOKENS = 511;
// Long enough for the clock, and for the compiler to have done its work in the warm-up.
const LEAST_MS = 20;

// Plain text, then what takes several bytes a character and often several tokens.
const TEXT = "The miller's daughter walked along the river; it was half past four. " +
  "She said: “Naïve façades, señor – 12,50 €!” 東京の夜は静かです。我们在河边等你。 " +
  "🦊🐉👩‍👩‍👧‍👦🇳🇱 e\u0301a\u0308o\u0323\u0302 Здравствуй, мир. नमस्ते दुनिया. ";

/** Decodes token by token, and prints what is whole. */
type Detokenize = (ids: readonly number[]) => string;

export const detokenizer: Suite = {
  name: "detokenizer",
  summary: "what turning token ids into text costs",
  needs: ({ promptTokens, maxTokens }) => ({ sequences: 1, tokens: promptTokens + maxTokens }),
  async run(harness) {
    const { text: tokenizer } = harness.target;
    const unit = tokenizer.encode(TEXT);
    const longest = SEQUENCES.at(-1)![1];
    const ids = Array.from({ length: longest }, (_, i) => unit[i % unit.length]!);
    await sequences(harness, ids);
    await creation(harness);
    await requests(harness, ids.slice(0, REQUEST_TOKENS));
  },
  charts: [
    lines("Time by length of the text", DETOKENIZE_TIME, {
      by: "tokens",
      series: "way",
      logarithmic: true,
    }),
  ],
};

async function sequences(harness: Harness, all: readonly number[]): Promise<void> {
  const { text: tokenizer } = harness.target;
  const naive: Detokenize = (ids) => decodeUnprinted(tokenizer, ids);
  const streaming: Detokenize = (ids) => push(tokenizer.stream(), ids);
  const table = harness.table("Detokenizer", "Sequence | Tokens | decode() | Streaming | Speedup");
  const speedups: number[] = [];
  let identical = true;
  for (const [name, tokens] of SEQUENCES) {
    const ids = all.slice(0, tokens);
    identical &&= naive(ids) === streaming(ids) && streaming(ids) === tokenizer.decode(ids, false);
    const samples = await times(harness, `${name} sequence`, [
      () => naive(ids),
      () => streaming(ids),
    ]);
    const [slow, fast] = ["decode()", "streaming"].map((way, i) =>
      harness.at({ way, tokens }).measure(DETOKENIZE_TIME, samples[i]!)
    );
    const speedup = slow!.value / fast!.value;
    speedups.push(speedup);
    const at = harness.at({ tokens });
    table.row(name, tokens, slow!, fast!, at.value(STREAMING_SPEEDUP, speedup));
  }
  const mean = harness.at().value(STREAMING_SPEEDUP_MEAN, summarize(speedups).mean);
  table.note(
    `**Average speedup: ${text(mean)}**`,
    `identical: ${identical ? "yes" : "no"}`,
  );
  harness.check("identical text", identical, "naive, streaming and whole decoding, byte for byte");
}

async function creation(harness: Harness): Promise<void> {
  const { text: tokenizer } = harness.target;
  const [create = []] = await times(harness, "instances", [() => {
    for (let i = 0; i < CREATIONS; i++) tokenizer.stream();
  }]);
  const table = harness.table("Instance creation", "What | Time");
  const at = harness.at();
  table.row(
    `${CREATIONS} creations`,
    harness.at({ creations: CREATIONS }).measure(CREATION_TIME, create),
  );
  table.row("Each", at.value(CREATION_TIME_EACH, medianOf(create) / CREATIONS * 1000));
}

async function requests(harness: Harness, ids: readonly number[]): Promise<void> {
  const { text: tokenizer } = harness.target;
  const pooled = tokenizer.stream();
  const ways: readonly (readonly [string, Detokenize])[] = [
    ["Naive decode()", (own) => decodeUnprinted(tokenizer, own)],
    ["Streaming (new instance)", (own) => push(tokenizer.stream(), own)],
    ["Streaming (pooled)", (own) => push(pooled, own)],
  ];
  const measured = await times(
    harness,
    "requests",
    ways.map(([, way]) => () => {
      for (let i = 0; i < REQUESTS; i++) way(ids);
    }),
  );
  const table = harness.table(
    "One instance per request, or one for all",
    ["Metric", ...ways.map(([name]) => name)].join(" | "),
  );
  const row = (name: string, metric: Metric, count: number) =>
    table.row(
      name,
      ...ways.map(([way], i) =>
        harness.at({ way: way.toLowerCase() })
          .measure(metric, measured[i]!.map((ms) => count / ms * 1000))
      ),
    );
  row("Tokens/sec", DETOKENIZE_THROUGHPUT, REQUESTS * ids.length);
  row("Requests/sec", DETOKENIZE_REQUESTS, REQUESTS);
}

/** The naive way that is right: decode the tokens not printed yet, print them if they are whole. */
function decodeUnprinted(text: BenchText, ids: readonly number[]): string {
  let printed = "";
  let first = 0;
  for (let end = 1; end <= ids.length; end++) {
    const part = text.decode(ids.slice(first, end), first > 0);
    if (part.endsWith("\ufffd") && end < ids.length) continue;
    printed += part;
    first = end;
  }
  return printed;
}

function push(stream: ReturnType<BenchText["stream"]>, ids: readonly number[]): string {
  let printed = "";
  for (const id of ids) printed += stream.push(id);
  return printed + stream.flush();
}

/** ms of one call of each way, a sample a repetition, each over as many calls as a clock needs. */
function times(
  harness: Harness,
  label: string,
  ways: readonly (() => void)[],
): Promise<number[][]> {
  const { target } = harness;
  return harness.interleave(ways, () => label, (work) => {
    let calls = 0;
    const start = target.now();
    let elapsed: number;
    do {
      work();
      calls++;
      elapsed = target.now() - start;
    } while (elapsed < LEAST_MS);
    return elapsed / calls;
  });
}
