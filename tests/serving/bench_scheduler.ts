/**
 * Measures the host time of the scheduler and the block manager per sequence and step, with 64
 * sequences. The aim is below 20 µs. Run: `deno run tests/serving/bench_scheduler.ts`
 */

import { blocksFor } from "../../engine/run/block_manager.ts";
import { KvBlocks } from "../../engine/run/kv_blocks.ts";
import { type Plan, Scheduler } from "../../engine/run/scheduler.ts";

const SEQUENCES = 64;
const PROMPT = 512;
const ANSWER = 256;
const ROUNDS = 10;
const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, seed: 0 };

interface Case {
  readonly name: string;
  /** Length of the prefix that all prompts share. */
  readonly shared: number;
  /** Blocks, as a fraction of what all complete sequences need. */
  readonly memory: number;
  readonly cache: boolean;
}

const cases: Case[] = [
  { name: "no prefix cache", shared: 0, memory: 1, cache: false },
  { name: "prefix cache, nothing shared", shared: 0, memory: 1, cache: true },
  { name: "prefix cache, 286 tokens shared", shared: 286, memory: 1, cache: true },
  { name: "half the blocks, preemption", shared: 0, memory: 0.5, cache: true },
];

/** Serves 64 requests one step ahead, as the engine does. Every row samples token 7. */
function serve(scheduler: Scheduler, round: number, { shared }: Case): number[] {
  const times: number[] = [];
  for (let i = 0; i < SEQUENCES; i++) {
    const own = (round * SEQUENCES + i) % 1000;
    const promptIds = Array.from({ length: PROMPT }, (_, p) => p < shared ? p : (p * own) % 1000);
    scheduler.add({ promptIds, sampling, maxTokens: ANSWER, stopIds: [] });
  }
  let last: Plan | undefined;
  while (scheduler.running.length + scheduler.waiting.length > 0) {
    const start = performance.now();
    const plan = scheduler.schedule();
    for (const [row, sequence] of last?.sequences.entries() ?? []) {
      if (last!.batch.sequences[row]!.sampling) scheduler.append(sequence, 7, start);
    }
    const rows = plan?.sequences.length ?? 0;
    if (rows > SEQUENCES / 2) times.push(1000 * (performance.now() - start) / rows);
    last = plan;
  }
  return times;
}

for (const one of cases) {
  const times: number[] = [];
  const blocks = Math.ceil(one.memory * SEQUENCES * blocksFor(PROMPT + ANSWER));
  const manager = new KvBlocks([{ blocks }], { share: one.cache });
  const scheduler = new Scheduler(manager, {
    maxBatchTokens: 2048,
    maxSequences: SEQUENCES,
    contextLength: 4096,
    vocabSize: 1000,
  });
  for (let round = 0; round < ROUNDS; round++) times.push(...serve(scheduler, round, one));
  times.sort((a, b) => a - b);
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  const [p50, p99] = [0.5, 0.99].map((q) => times[Math.floor(q * times.length)]!.toFixed(2));
  console.log(
    `${one.name}: mean ${mean.toFixed(2)} µs per sequence and step, median ${p50}, p99 ${p99}, ` +
      `most ${
        times.at(-1)!.toFixed(2)
      } (${times.length} steps, ${scheduler.preemptions} preemptions)`,
  );
}
