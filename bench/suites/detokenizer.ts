/** Token ids to text as they come: our incremental way against decoding what is not printed yet. */

import type { Bench } from "../harness/harness.ts";
import { value } from "../report/report.ts";
import { summarize } from "../harness/stats.ts";
import type { BenchText } from "../targets/target.ts";

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

export async function detokenizer(bench: Bench): Promise<void> {
  const { text } = bench.target;
  const naive: Detokenize = (ids) => decodeUnprinted(text, ids);
  const streaming: Detokenize = (ids) => push(text.stream(), ids);
  const unit = text.encode(TEXT);
  const longest = SEQUENCES.at(-1)![1];
  const all = Array.from({ length: longest }, (_, i) => unit[i % unit.length]!);

  const table = bench.table("Detokenizer", [
    "Sequence",
    "Tokens",
    "decode()",
    "Streaming",
    "Speedup",
  ]);
  const speedups: number[] = [];
  let identical = true;
  for (const [name, tokens] of SEQUENCES) {
    const ids = all.slice(0, tokens);
    identical &&= naive(ids) === streaming(ids) && streaming(ids) === text.decode(ids, false);
    const [slow = [], fast = []] = await times(bench, `${name} sequence`, [
      () => naive(ids),
      () => streaming(ids),
    ]);
    const speedup = summarize(slow).median / summarize(fast).median;
    speedups.push(speedup);
    table.row(
      name,
      value(tokens, ""),
      bench.measure(`decode() of ${tokens} tokens`, slow, "ms"),
      bench.measure(`streaming ${tokens} tokens`, fast, "ms"),
      value(speedup, "x"),
    );
  }
  table.say(
    `**Average speedup: ${summarize(speedups).mean.toFixed(2)}x**`,
    `identical: ${identical ? "yes" : "no"}`,
  );
  bench.check("identical text", identical, "naive, streaming and whole decoding, byte for byte");
  await creation(bench, all.slice(0, REQUEST_TOKENS), naive);
}

async function creation(
  bench: Bench,
  ids: readonly number[],
  naive: Detokenize,
): Promise<void> {
  const { text } = bench.target;
  const [create = []] = await times(bench, "instances", [() => {
    for (let i = 0; i < CREATIONS; i++) text.stream();
  }]);
  const table = bench.table("Instance creation", ["What", "Time"]);
  table.row(`${CREATIONS} creations`, bench.measure("creations", create, "ms"));
  table.row("Each", value(summarize(create).median / CREATIONS * 1000, "us"));

  const pooled = text.stream();
  const ways: (readonly [string, Detokenize])[] = [
    ["Naive decode()", naive],
    ["Streaming (new instance)", (own) => push(text.stream(), own)],
    ["Streaming (pooled)", (own) => push(pooled, own)],
  ];
  const measured = await times(
    bench,
    "requests",
    ways.map(([, way]) => () => {
      for (let i = 0; i < REQUESTS; i++) way(ids);
    }),
  );
  const requests = bench.table("One instance per request, or one for all", [
    "Metric",
    ...ways.map(([name]) => name),
  ]);
  const row = (metric: string, unit: "tok/s" | "req/s", count: number) =>
    requests.row(
      metric,
      ...measured.map((samples, i) =>
        bench.measure(`${ways[i]![0]}, ${metric}`, samples.map((ms) => count / ms * 1000), unit)
      ),
    );
  row("Tokens/sec", "tok/s", REQUESTS * ids.length);
  row("Requests/sec", "req/s", REQUESTS);
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
function times(bench: Bench, label: string, ways: readonly (() => void)[]): Promise<number[][]> {
  const { target } = bench;
  return bench.byTurns(ways, () => label, (work) => {
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
