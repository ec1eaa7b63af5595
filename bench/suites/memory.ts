/** Where the memory goes: buffers by purpose, blocks of real sequences, and what sharing saves. */

import { BLOCK_TOKENS } from "../../engine/run/runner.ts";
import type { Bench } from "../harness/harness.ts";
import { kvBytesPerToken } from "../harness/limits.ts";
import { value } from "../report/report.ts";
import { bufferBytes, type HeldBlocks } from "../targets/target.ts";

const PROJECTED = [512, 1024, 2048, 4096];
const HELD = [1, 2, 4, 8];

/** Tokens that the sharing scenarios have at full size. */
const SHARED = { sequences: 10, shared: 512, own: 144 };
const VARIED = { sequences: 20, shortest: 64, longest: 512, reserved: 2048 };
const BRANCHES = { branches: 4, trunk: 256, own: 256 };
/** The context that they need: the longest of them, and what is generated meanwhile. */
const SCENARIO_CONTEXT = 1024;

export async function memory(bench: Bench): Promise<void> {
  await buffers(bench);
  await kvScaling(bench);
  projections(bench);
  await sharing(bench);
}

async function buffers(bench: Bench): Promise<void> {
  // The cache grows with what is asked of it.
  await bench.repeat("one request", bench.requests(bench.prompts(1)));
  const table = bench.table("Memory", ["Metric", "Value"]);
  const all = bench.target.memory();
  const { buffers: use, kvTokens, peakRss } = all;
  const row = (name: string, bytes: number | undefined) =>
    table.row(name, bytes === undefined ? "not counted on the CPU" : value(bytes, "bytes"));
  row("Model weights", use?.weights);
  if (use) row("KV memory per token", use.kv / kvTokens);
  else row("KV memory per token (computed)", kvBytesPerToken(bench.target));
  row("KV cache buffers", use?.kv);
  row("Scratch buffers", use?.scratch);
  row("Readback buffers", use?.readback);
  row("Total device memory", bufferBytes(all));
  row("Peak process RSS", peakRss);
  table.say(
    "Buffers as the requests so far left them; the KV cache grows with the requests. Peak process RSS is the most that was seen after loading and, ten times a second, while requests were served.",
  );
}

async function kvScaling(bench: Bench): Promise<void> {
  const table = bench.table("KV Cache Scaling", ["Sequences", "Tokens", "KV Cache"]);
  const { maxSequences, blocks } = bench.target.limits;
  const { promptTokens } = bench.run;
  for (const count of HELD) {
    const needed = count * Math.ceil((2 * promptTokens + 32) / BLOCK_TOKENS);
    if (count > maxSequences || needed > blocks) continue;
    bench.step(`KV cache of ${count}`);
    const held = await bench.target.hold(bench.prompts(count), false);
    table.row(
      value(held.tokens.length, ""),
      value(sum(held.tokens), ""),
      value(blockBytes(bench, held.used), "bytes"),
    );
  }
  table.say("Blocks allocated at the moment when all sequences had their first token.");
}

function projections(bench: Bench): void {
  const table = bench.table("Memory Projections (per sequence, computed)", [
    "Context Length",
    "KV Cache",
  ]);
  for (const context of PROJECTED) {
    const blocks = Math.ceil(context / BLOCK_TOKENS);
    table.row(value(context, ""), value(blockBytes(bench, blocks), "bytes"));
  }
}

async function sharing(bench: Bench): Promise<void> {
  const table = bench.table("Sharing", ["Scenario", "Memory Savings"]);
  const { contextLength } = bench.report.environment.model;
  const scale = Math.min(1, contextLength / SCENARIO_CONTEXT);
  const scaled = (tokens: number) =>
    Math.max(BLOCK_TOKENS, Math.floor(tokens * scale / BLOCK_TOKENS) * BLOCK_TOKENS);
  const note = scale < 1 ? ", scaled to the model's context" : "";
  const many = Math.min(VARIED.sequences, bench.target.limits.maxSequences);

  const system = await hold(bench, "shared system prompts", () => {
    const [shared, own] = [scaled(SHARED.shared), scaled(SHARED.own)];
    const prefix = bench.prompts(1, shared)[0]!;
    const count = Math.min(SHARED.sequences, many);
    return bench.prompts(count, own).map((prompt) => [...prefix, ...prompt]);
  }, true);
  table.row(
    `Shared system prompts: ${system.tokens.length} sequences, ${
      scaled(SHARED.shared)
    } shared and ` +
      `${scaled(SHARED.own)} own tokens${note}`,
    saving(system.used, system.held),
  );

  const varied = await hold(bench, "sequences of many lengths", () => {
    const [shortest, longest] = [scaled(VARIED.shortest), scaled(VARIED.longest)];
    const step = (longest - shortest) / Math.max(1, many - 1);
    // The longest first, as all go on generating until the last one has its first token.
    return bench.prompts(many, longest).map((prompt, i) =>
      prompt.slice(0, longest - Math.round(step * i))
    );
  }, false);
  const reserved = Math.min(VARIED.reserved, contextLength);
  table.row(
    `Concurrent memory efficiency: ${varied.tokens.length} sequences of ` +
      `${Math.min(...varied.tokens)} to ${Math.max(...varied.tokens)} tokens against ` +
      `${reserved.toLocaleString("en-US")} reserved for each${note}`,
    saving(varied.used, varied.tokens.length * Math.ceil(reserved / BLOCK_TOKENS)),
  );

  const branched = await hold(bench, "branches", () => {
    const [trunk, own] = [scaled(BRANCHES.trunk), scaled(BRANCHES.own)];
    const prefix = bench.prompts(1, trunk)[0]!;
    return bench.prompts(Math.min(BRANCHES.branches, many), own).map((p) => [...prefix, ...p]);
  }, true);
  table.row(
    `Prefix sharing branches: ${branched.tokens.length} of ${scaled(BRANCHES.own)} tokens from a ` +
      `conversation of ${scaled(BRANCHES.trunk)}${note}`,
    saving(branched.used, branched.held),
  );
  table.say(
    "Blocks counted while the sequences ran: those in use against all entries of their tables (or against the reservation).",
  );
}

function hold(
  bench: Bench,
  label: string,
  prompts: () => number[][],
  share: boolean,
): Promise<HeldBlocks> {
  bench.step(label);
  return bench.target.hold(prompts(), share);
}

function saving(used: number, without: number): string {
  return `${(100 * (1 - used / without)).toFixed(1)}% (${used} of ${without} blocks)`;
}

function blockBytes(bench: Bench, blocks: number): number {
  return blocks * BLOCK_TOKENS * kvBytesPerToken(bench.target);
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
