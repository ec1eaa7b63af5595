/**
 * Measures memory: the buffers by purpose, the KV cache of real sequences, and what sharing saves.
 */

import { BLOCK_TOKENS } from "../../engine/run/runner.ts";
import { type Harness, type Suite } from "../harness/harness.ts";
import { kvMemory } from "../harness/kv_memory.ts";
import { count, text } from "../report/format.ts";
import { bars, DEVICE_MEMORY, lines, type Metric, PEAK_RSS } from "../report/metrics.ts";
import type { Settings } from "../report/report.ts";
import { bufferBytes, type HeldBlocks } from "../targets/target.ts";
import { plural } from "../../engine/plural.ts";

const KV_BYTES_PER_TOKEN: Metric = { id: "kv_bytes_per_token", unit: "bytes" };
/** Tokens of all sequences in the cache, and bytes of the blocks that store them. */
const CACHED_TOKENS: Metric = { id: "cached_tokens", unit: "" };
const KV_CACHE: Metric = { id: "kv_cache", unit: "bytes" };
/** Bytes of the KV cache for a sequence of this length, computed. */
const KV_PROJECTION: Metric = { id: "kv_projection", unit: "bytes" };
/**
 * Blocks in use, blocks that would be used without sharing or paging, and the share of bytes saved.
 */
const BLOCKS_USED: Metric = { id: "blocks_used", unit: "" };
const BLOCKS_WITHOUT: Metric = { id: "blocks_without", unit: "" };
const MEMORY_SAVINGS: Metric = { id: "memory_savings", unit: "%" };

const PROJECTED = [512, 1024, 2048, 4096];

/** Sizes of the sharing scenarios before they are scaled to the context; lengths in tokens. */
const SHARED = { sequences: 10, shared: 512, own: 144 };
const VARIED = { sequences: 20, shortest: 64, longest: 512, reserved: 2048 };
const BRANCHES = { branches: 4, trunk: 256, own: 256 };
/** Context that the scenarios need: the longest sequence, and the tokens generated meanwhile. */
const SCENARIO_CONTEXT = 1024;

export const memory: Suite = {
  name: "memory",
  summary: "what uses memory, and what shared prompts save",
  summaryColumns: [
    { title: "Model weights", metric: DEVICE_MEMORY.id, settings: { purpose: "weights" } },
    { title: "KV per token", metric: KV_BYTES_PER_TOKEN.id },
    { title: "Total", metric: DEVICE_MEMORY.id, settings: { purpose: "total" } },
  ],
  // The sequences of various lengths have 288 tokens on average. They generate until the last one
  // has its first token.
  needs: ({ promptTokens, sequences }) => ({
    sequences: Math.max(VARIED.sequences, ...sequences),
    tokens: Math.max(VARIED.longest * 3 / 4, promptTokens),
  }),
  async run(harness) {
    const counts = heldCounts(harness);
    harness.plan(1 + counts.able.length + SHARING_CASES);
    await buffers(harness);
    await kvScaling(harness, counts);
    projections(harness);
    await sharing(harness);
  },
  charts: [
    bars("Memory of the device, one request", DEVICE_MEMORY, { by: "purpose" }),
    lines("KV cache by sequences of the same length", KV_CACHE, { by: "sequences" }),
  ],
};

async function buffers(harness: Harness): Promise<void> {
  // The KV cache grows on demand.
  await harness.repeat("one request", harness.requests(harness.prompts(1)));
  const table = harness.table("Memory", "Metric | Value");
  const use = harness.target.memory();
  const row = (name: string, purpose: string, bytes: number | undefined) =>
    table.row(
      name,
      bytes === undefined ? "not counted" : harness.at({ purpose }).value(DEVICE_MEMORY, bytes),
    );
  const { buffers, peakRss } = use;
  row("Model weights", "weights", buffers?.weights);
  const { perToken, calculation } = kvMemory(harness.report.environment);
  table.row(
    `KV memory per token (computed: ${calculation})`,
    harness.at().value(KV_BYTES_PER_TOKEN, perToken),
  );
  row("KV cache buffers", "KV cache", buffers?.kv);
  row("Scratch buffers", "scratch", buffers?.scratch);
  row("Readback buffers", "readback", buffers?.readback);
  row("Total device memory", "total", bufferBytes(use));
  table.row("Peak process RSS", harness.at().value(PEAK_RSS, peakRss));
  table.note(
    "Buffers after the requests so far; the KV cache grows with the requests. Peak process RSS is counted by the system (getrusage) since the process started.",
  );
}

/** Which of the requested numbers of sequences fit into the cache, and which do not. */
function heldCounts({ target, runOptions }: Harness): { able: number[]; left: number[] } {
  const { maxSequences, blocks } = target.limits;
  const { promptTokens, sequences: counts } = runOptions;
  const fits = (sequences: number) =>
    sequences <= maxSequences &&
    sequences * Math.ceil((2 * promptTokens + 32) / BLOCK_TOKENS) <= blocks;
  return { able: counts.filter(fits), left: counts.filter((count) => !fits(count)) };
}

async function kvScaling(
  harness: Harness,
  { able, left }: ReturnType<typeof heldCounts>,
): Promise<void> {
  const table = harness.table("KV Cache Scaling", "Sequences | Tokens | KV Cache");
  for (const sequences of able) {
    const held = await hold(harness, `KV cache of ${sequences}`, {
      prompts: harness.prompts(sequences),
      share: false,
    });
    const at = harness.at({ sequences });
    const tokens = held.tokens.reduce((a, b) => a + b, 0);
    table.row(
      sequences,
      at.value(CACHED_TOKENS, tokens),
      at.value(KV_CACHE, kvMemory(harness.report.environment).ofBlocks(held.used)),
    );
  }
  if (left.length > 0) table.note(`Left out because the cache has no room: ${left.join(", ")}.`);
  table.note("Blocks are counted at the moment when all sequences have their first token.");
}

function projections(harness: Harness): void {
  const table = harness.table(
    "Memory Projections (per sequence, computed)",
    "Context Length | KV Cache",
  );
  const { environment } = harness.report;
  const { contextLength } = environment.model;
  const lengths = [...PROJECTED.filter((length) => length < contextLength), contextLength];
  for (const context of lengths.slice(0, PROJECTED.length)) {
    const bytes = kvMemory(environment).held(context);
    table.row(context, harness.at({ context }).value(KV_PROJECTION, bytes));
  }
  if (contextLength < PROJECTED.at(-1)!) {
    table.note(`The model was loaded with a context of ${count(contextLength)} tokens.`);
  }
}

async function sharing(harness: Harness): Promise<void> {
  const table = harness.table("Sharing", "Scenario | Memory Savings");
  const { contextLength } = harness.report.environment.model;
  const scale = Math.min(1, contextLength / SCENARIO_CONTEXT);
  const scaled = (tokens: number) =>
    Math.max(BLOCK_TOKENS, Math.floor(tokens * scale / BLOCK_TOKENS) * BLOCK_TOKENS);
  const most = Math.min(VARIED.sequences, harness.target.limits.maxSequences);
  for (const { name, settings, ...own } of sharingCases(harness, most, scaled)) {
    const held = await hold(harness, name.toLowerCase(), own);
    const without = own.without ?? held.held[0]!;
    const [kept, all] = own.without === undefined
      ? [
        kvMemory(harness.report.environment).ofBlocks(held.used),
        kvMemory(harness.report.environment).ofBlocks(held.held),
      ]
      : [held.used[0]!, own.without];
    const at = harness.at({ sharing: name.toLowerCase(), ...settings });
    const used = at.value(BLOCKS_USED, held.used[0]!);
    const unshared = at.value(BLOCKS_WITHOUT, without);
    const savings = at.value(MEMORY_SAVINGS, 100 * (1 - kept / all));
    table.row(
      `${name}: ${own.details(held.tokens)}${scale < 1 ? ", scaled to the model's context" : ""}`,
      `${text(savings)} (${text(used)} of ${text(unshared)} blocks)`,
    );
  }
  table.note(
    "Blocks are counted while the sequences run: blocks in use, compared with all entries of their tables (or with the reservation).",
  );
}

/** Number of `sharingCases`. */
const SHARING_CASES = 3;

/** Sequences whose blocks are counted. */
interface SharingCase {
  readonly name: string;
  readonly settings: Settings;
  readonly prompts: number[][];
  readonly share: boolean;
  /** Describes the sequences, given the tokens of each. */
  readonly details: (tokens: readonly number[]) => string;
  /**
   * Blocks that would be used without sharing or paging; default: all entries of the block tables.
   */
  readonly without?: number;
}

function sharingCases(
  harness: Harness,
  most: number,
  scaled: (tokens: number) => number,
): SharingCase[] {
  const sequences = Math.min(SHARED.sequences, most);
  const [shared, own] = [scaled(SHARED.shared), scaled(SHARED.own)];
  const [shortest, longest] = [scaled(VARIED.shortest), scaled(VARIED.longest)];
  const step = (longest - shortest) / Math.max(1, most - 1);
  const reserved = Math.min(VARIED.reserved, harness.report.environment.model.contextLength);
  const branches = Math.min(BRANCHES.branches, most);
  const [trunk, branch] = [scaled(BRANCHES.trunk), scaled(BRANCHES.own)];
  return [
    {
      name: "Shared system prompts",
      settings: { sequences, shared, own },
      prompts: alike(harness, sequences, { shared, own }),
      share: true,
      details: () =>
        `${sequences} ${plural(sequences, "sequence")}, ${shared} shared and ${own} own tokens`,
    },
    {
      name: "Concurrent memory efficiency",
      settings: { sequences: most, shortest, longest, reserved },
      // The longest first, as all keep generating until the last one has its first token.
      prompts: harness.prompts(most, longest).map((prompt, i) =>
        prompt.slice(0, longest - Math.round(step * i))
      ),
      share: false,
      details: (tokens) =>
        `${most} ${plural(most, "sequence")} of ${Math.min(...tokens)} to ${
          Math.max(...tokens)
        } tokens, compared with ` +
        `${count(reserved)} reserved for each`,
      without: most * Math.ceil(reserved / BLOCK_TOKENS),
    },
    {
      name: "Prefix sharing branches",
      settings: { sequences: branches, shared: trunk, own: branch },
      prompts: alike(harness, branches, { shared: trunk, own: branch }),
      share: true,
      details: () =>
        `${branches} ${
          plural(branches, "sequence")
        } of ${branch} tokens that continue a conversation of ${trunk}`,
    },
  ];
}

/** Prompts with a common prefix. */
function alike(
  harness: Harness,
  count: number,
  { shared, own }: { readonly shared: number; readonly own: number },
): number[][] {
  const prefix = harness.prompts(1, shared)[0]!;
  return harness.continuations(count, own).map((prompt) => [...prefix, ...prompt]);
}

function hold(
  harness: Harness,
  label: string,
  { prompts, share }: { readonly prompts: number[][]; readonly share: boolean },
): Promise<HeldBlocks> {
  harness.begin(label);
  return harness.withSession(
    { sharePrefixes: share },
    (session) => session.holdSequences(prompts),
  );
}
