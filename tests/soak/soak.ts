/**
 * Runs a server under a mixed load for any time. Its device is lost now and then, and opened again.
 * No request may be lost or get a wrong answer, and whenever the server is idle it must use the
 * same device memory as before.
 */

import assert from "node:assert/strict";
import { CpuRunner } from "../../engine/cpu/runner.ts";
import type { Model } from "../../mod.ts";
import type { ModelServer } from "../../server/server.ts";
import { BufferCounter } from "../gpu/buffer_counter.ts";
import { MixedLoad, type Outcome, ServerFailure } from "../server/mixed_load.ts";
import { listening, loadServed, makeServer } from "../server/served.ts";
import { lose } from "./losses.ts";

const CONCURRENCY = 8;

/** Tokens of the KV cache: fewer than eight requests may need, so that some are preempted. */
const KV_TOKENS = 640;

/** Requests of a model's first round, after which it has allocated all its buffers. */
const FIRST = Array.from({ length: 20 }, (_, i) => i);

/** The state while the server is idle. */
export interface IdleState {
  readonly round: number;
  /** How often the device was lost. */
  readonly losses: number;
  readonly deviceBytes: number;
}

export interface SoakOptions {
  readonly device: "cpu" | "gpu";
  /** Number of the CPU backend's threads. */
  readonly threads?: number;
  /** Requests per round. After each round the server is idle. */
  readonly requests: number;
  /** Whether there is another round. */
  readonly goesOn: (round: number) => boolean;
  /** Whether the device is lost in this round. */
  readonly isLost: (round: number) => boolean;
  /** Called between rounds, while nothing runs. */
  readonly idle: (state: IdleState) => Promise<void>;
}

export interface SoakCounts {
  readonly outcomes: Readonly<Record<Outcome, number>>;
  readonly rounds: number;
  /** How the device was lost, each time. */
  readonly losses: readonly string[];
  /** Requests that failed with their device, and were sent again. */
  readonly again: number;
}

/** A loaded model, its server, and the device memory that they use while idle. */
interface Life {
  readonly model: Model;
  readonly server: ModelServer;
  readonly deviceBytes: number;
}

export async function soak(options: SoakOptions): Promise<SoakCounts> {
  const { requests, goesOn, isLost, idle } = options;
  using counter = new BufferCounter();
  const outcomes = { right: 0, invalid: 0, cancelled: 0 };
  const losses: string[] = [];
  let round = 0, again = 0;
  let life: Life | undefined;
  let load: MixedLoad | undefined;

  await listening((request) => life!.server.handle(request), async (address) => {
    /**
     * Sends requests. Returns their outcomes, and the numbers of those that failed with the device.
     */
    const askAll = async (numbers: readonly number[], onNext = (_left: number) => {}) => {
      const ended: Outcome[] = [], failed: number[] = [];
      const left = [...numbers];
      const client = async () => {
        for (let number; (number = left.shift()) !== undefined;) {
          onNext(left.length);
          try {
            ended.push(await load!.ask(address, number));
          } catch (error) {
            if (!(error instanceof ServerFailure)) throw error;
            failed.push(number);
          }
        }
      };
      await Promise.all(Array.from({ length: CONCURRENCY }, client));
      return { ended, failed };
    };
    const begin = async (): Promise<Life> => {
      counter.live.clear();
      const { device, threads } = options;
      const sizes = { maxSequences: CONCURRENCY, kvTokens: KV_TOKENS };
      const model = await loadServed({ device, ...sizes, ...(threads && { threads }) });
      // A log kept in memory would grow with every request.
      const log = () => {};
      const { server } = makeServer({ concurrency: CONCURRENCY, queue: CONCURRENCY, log });
      server.ready(model);
      life = { model, server, deviceBytes: 0 };
      load ??= await MixedLoad.of(model);
      await fillCache(model);
      assert.deepEqual((await askAll(FIRST)).failed, []);
      await idleness(life);
      return { ...life, deviceBytes: bytesOf(model, counter) };
    };

    life = await begin();
    for (; goesOn(round); round++) {
      const numbers = Array.from({ length: requests }, (_, i) => round * requests + i);
      const loses = isLost(round);
      // In the middle of the load: some requests have been answered, others are left.
      const last = requests - CONCURRENCY - round % CONCURRENCY;
      const { ended, failed } = await askAll(numbers, (left) => {
        if (loses && left === last) losses.push(lose(life!.model.runner, losses.length));
      });
      if (loses) {
        assert.ok(failed.length > 0, `${losses.at(-1)}, but no request failed`);
        await life.model.close();
        life = await begin();
        const later = await askAll(failed);
        assert.deepEqual(later.failed, []);
        ended.push(...later.ended);
        again += failed.length;
      } else assert.deepEqual(failed, []);
      assert.equal(ended.length, requests, "requests are lost");
      for (const outcome of ended) outcomes[outcome]++;
      await idleness(life);
      const deviceBytes = bytesOf(life.model, counter);
      assert.equal(deviceBytes, life.deviceBytes, "device bytes at an idle moment");
      await idle({ round, losses: losses.length, deviceBytes });
    }
    await life.model.close();
  });
  return { outcomes, rounds: round, losses, again };
}

/** Makes the KV cache grow to its budget. */
async function fillCache(model: Model): Promise<void> {
  const promptIds = model.tokenize("Once upon a time");
  await model.engine.generate(
    Array.from({ length: CONCURRENCY }, (_, seed) => ({
      promptIds,
      maxTokens: 90,
      sampling: { temperature: 1, seed },
    })),
  );
  const { total, budget } = model.engine.stats.blocks;
  assert.equal(total, budget);
}

/** Waits until the server has nothing to do, and asserts that no block is in use. */
async function idleness({ server, model: { engine } }: Life): Promise<void> {
  while (server.open > 0 || engine.stats.running > 0) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.equal(engine.stats.waiting, 0);
  for (const { used } of engine.stats.kvGroups) assert.equal(used, 0);
}

/** More readback words than steps in flight can use. */
const MOST_WORDS = 64;

/**
 * Returns the bytes of the GPU's buffers, or of the memory that the CPU's threads share. The
 * readback words by which pieces of steps wait are not counted, because their number depends on how
 * long the pieces take.
 */
function bytesOf({ runner }: Model, counter: BufferCounter): number {
  if (runner instanceof CpuRunner) return runner.stepper.context.memory.bytes.byteLength;
  const words = [...counter.live.keys()].filter(({ label, size }) =>
    label === "readback" && size === 256
  );
  assert.ok(words.length <= MOST_WORDS, `${words.length} readback buffers of 256 bytes`);
  return counter.bytes - 256 * words.length;
}
