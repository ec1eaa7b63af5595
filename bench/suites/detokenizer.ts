/** Compares incremental detokenizing with two naive ways to turn tokens into text one by one. */

import { type Harness, type Suite } from "../harness/harness.ts";
import { tokensPerSecond } from "../harness/timings.ts";
import { text } from "../report/format.ts";
import { lines, type Metric, THROUGHPUT } from "../report/metrics.ts";
import { medianOf, pairedRatios, summarize } from "../report/stats.ts";
import type { BenchText, TextMaking } from "../targets/target.ts";
import { plural } from "../../engine/plural.ts";

const DETOKENIZE_TIME: Metric = { id: "detokenize_time", unit: "ms", headline: true };
const ITERATIONS: Metric = { id: "iterations", unit: "" };
/** Time of the naive way that the setting `over` names, divided by the time of streaming. */
const STREAMING_SPEEDUP: Metric = { id: "streaming_speedup", unit: "x" };
const STREAMING_SPEEDUP_MEAN: Metric = { id: "streaming_speedup_mean", unit: "x" };
/** Time to create the number of instances that the setting gives, and to create one. */
const CREATION_TIME: Metric = { id: "creation_time", unit: "ms" };
const CREATION_TIME_EACH: Metric = { id: "creation_time_each", unit: "us" };
/** Throughput of the engine with a way of detokenizing, relative to the naive way. */
const IMPACT: Metric = { id: "detokenizer_impact", unit: "x" };

const SEQUENCES = [
  ["Short", 8],
  ["Medium", 103],
  ["Long", 511],
  ["742", 742],
  ["1K", 1191],
  ["2K", 2381],
  ["4K", 4761],
] as const;

const CREATIONS = 100;
const REQUESTS = 20;
// Minimum time of a sample: long enough for the clock, and for the JIT compiler to finish during
// the warm-up.
const LEAST_MS = 20;
/**
 * Full decoding of more than `tokens` tokens takes seconds, so only every `every`th prefix is
 * decoded.
 */
const QUADRATIC = { tokens: 1191, every: 16 };

// Plain text, then characters that take several bytes and often several tokens.
const TEXT = "The miller's daughter walked along the river; it was half past four. " +
  "She said: “Naïve façades, señor – 12,50 €!” 東京の夜は静かです。我们在河边等你。 " +
  "🦊🐉👩‍👩‍👧‍👦🇳🇱 e\u0301a\u0308o\u0323\u0302 Здравствуй, мир. नमस्ते दुनिया. ";

export const detokenizer: Suite = {
  name: "detokenizer",
  summary: "time to turn token ids into text",
  needs: ({ promptTokens, maxTokens }) => ({
    sequences: REQUESTS,
    tokens: promptTokens + maxTokens,
  }),
  async run(harness) {
    const { text: tokenizer } = harness.target;
    const unit = tokenizer.encode(TEXT);
    const longest = SEQUENCES.at(-1)![1];
    const ids = Array.from({ length: longest }, (_, i) => unit[i % unit.length]!);
    // Three ways for each sequence, the creation of instances, then the ways in the engine.
    harness.plan(3 * SEQUENCES.length + 1 + MAKINGS.length);
    await sequences(harness, ids);
    await creation(harness);
    await requests(harness);
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
  const { target: { text: tokenizer }, runOptions: { repetitions } } = harness;
  const table = harness.table(
    "Detokenizer",
    "Sequence | Tokens | Iterations | decode() | Full decode | Streaming | Speedup | Speedup vs Full",
  );
  const speedups: number[] = [];
  let identical = true;
  let alone = "";
  for (const [name, tokens] of SEQUENCES) {
    const ids = all.slice(0, tokens);
    const whole = tokenizer.decode(ids, false);
    identical &&= push(tokenizer.stream(), ids) === whole;
    alone = decodeEach(tokenizer, ids);
    const every = tokens > QUADRATIC.tokens ? QUADRATIC.every : 1;
    const [naive = [], full = [], fast = []] = await times(harness, `${name} sequence`, [
      { work: () => decodeEach(tokenizer, ids), factor: 1 },
      { work: () => decodeAll(tokenizer, ids, every), factor: every },
      { work: () => push(tokenizer.stream(), ids), factor: 1 },
    ]);
    const at = harness.at({ tokens });
    const cell = (way: string, samples: readonly number[]) =>
      harness.at({ way, tokens }).measure(DETOKENIZE_TIME, samples);
    const over = (way: string, samples: readonly number[]) =>
      harness.at({ over: way, tokens }).ratio(STREAMING_SPEEDUP, pairedRatios(samples, fast));
    const speedup = over("decode()", naive);
    speedups.push(speedup.value);
    table.row(
      name,
      tokens,
      at.value(ITERATIONS, repetitions),
      cell("decode()", naive),
      cell("full decode", full),
      cell("streaming", fast),
      speedup,
      over("full decode", full),
    );
  }
  const mean = harness.at().value(STREAMING_SPEEDUP_MEAN, summarize(speedups).mean);
  const whole = tokenizer.decode(all, false);
  table.note(
    `**Average speedup: ${text(mean)}**`,
    "decode() decodes each token by itself, which is wrong for characters that span several tokens: " +
      `${
        difference(alone, whole)
      }. Full decode decodes all previous tokens again for each token, O(T²). Beyond ${QUADRATIC.tokens} tokens, only every ${QUADRATIC.every}th prefix is decoded, and its time counts ${QUADRATIC.every} times. Streaming is what tvllm uses.`,
    `identical: ${identical ? "yes" : "no"}`,
  );
  harness.check(
    "identical text",
    identical,
    "streaming compared with decoding all tokens at once, byte for byte",
  );
}

/** Says where `text` first differs from the right text. */
function difference(text: string, right: string): string {
  if (text === right) return "in this run the text is right";
  const at = [...right].findIndex((character, i) => [...text][i] !== character);
  return `in this run the text first differs at character ${at + 1}`;
}

async function creation(harness: Harness): Promise<void> {
  const { text: tokenizer } = harness.target;
  const [create = []] = await times(harness, "instances", [{
    work: () => {
      for (let i = 0; i < CREATIONS; i++) tokenizer.stream();
    },
    factor: 1,
  }]);
  const table = harness.table("Instance creation", "What | Time");
  const at = harness.at();
  table.row(
    `${CREATIONS} creations`,
    harness.at({ creations: CREATIONS }).measure(CREATION_TIME, create),
  );
  table.row("Each", at.value(CREATION_TIME_EACH, medianOf(create) / CREATIONS * 1000));
}

const MAKINGS: readonly (readonly [string, TextMaking])[] = [
  ["Naive decode()", "naive"],
  ["Streaming (new instance)", "streaming"],
  ["Streaming (pooled)", "pooled"],
];

/** Measures in the engine what it costs to create a new detokenizer for each request. */
async function requests(harness: Harness): Promise<void> {
  const { promptTokens, maxTokens } = harness.runOptions;
  // Requests are short, as the costs per request are compared.
  const [prompt, tokens] = [Math.min(promptTokens, 16), Math.min(maxTokens, 8)];
  const served = harness.requests(harness.prompts(REQUESTS, prompt), tokens);
  const servings = await harness.interleave(
    MAKINGS,
    ([name]) => name,
    ([, making]) => harness.serve(served, { text: making }),
  );
  const rates = servings.map((runs) => runs.map(tokensPerSecond));
  const table = harness.table(
    "Impact in the engine",
    ["Metric", ...MAKINGS.map(([name]) => name)].join(" | "),
  );
  const at = MAKINGS.map(([, way]) => harness.at({ way }));
  table.row(
    `Throughput (${REQUESTS} req, tok/s)`,
    ...rates.map((own, i) => at[i]!.measure(THROUGHPUT, own)),
  );
  table.row(
    "Impact",
    ...rates.map((own, i) => i === 0 ? "-" : at[i]!.ratio(IMPACT, pairedRatios(own, rates[0]!))),
  );
  table.note(
    `${REQUESTS} requests at once, each with ${prompt} prompt ${
      plural(prompt, "token")
    } and ${tokens} generated ${
      plural(tokens, "token")
    }, which a consumer converts to text. Impact: throughput relative to decode() of each token, in the same repetition.`,
  );
}

/** Decodes each token by itself. */
function decodeEach(text: BenchText, ids: readonly number[]): string {
  let printed = "";
  for (const [i, id] of ids.entries()) printed += text.decode([id], i > 0);
  return printed;
}

/** At every `every`th token, decodes all tokens so far again. */
function decodeAll(text: BenchText, ids: readonly number[], every: number): void {
  for (let end = every; end <= ids.length; end += every) text.decode(ids.slice(0, end), false);
}

function push(stream: ReturnType<BenchText["stream"]>, ids: readonly number[]): string {
  let printed = "";
  for (const id of ids) printed += stream.push(id);
  return printed + stream.flush();
}

/** ms per call of each way, one sample per repetition, averaged over enough calls for the clock. */
function times(
  harness: Harness,
  label: string,
  ways: readonly { readonly work: () => unknown; readonly factor: number }[],
): Promise<number[][]> {
  const { target } = harness;
  return harness.interleave(ways, () => label, ({ work, factor }) => {
    let calls = 0;
    const start = target.now();
    let elapsed: number;
    do {
      work();
      calls++;
      elapsed = target.now() - start;
    } while (elapsed < LEAST_MS);
    return factor * elapsed / calls;
  });
}
