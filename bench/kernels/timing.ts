/** Times kernels: many calls in one pass, interleaved for several numbers of tokens. */

import type { Dispatch } from "../../engine/gpu/pass.ts";
import { type Batch, BLOCK_TOKENS, GREEDY, type SamplingOptions } from "../../engine/run/runner.ts";
import type { KernelHarness } from "../../engine/gpu/self_test/kernel_harness.ts";
import type { KernelCase } from "./kernel_bench.ts";

/**
 * By class of adapter: the matrix, the bytes of all its copies, and the maximum of calls in a
 * sample.
 */
export const SIZES = {
  software: { rows: 1536, columns: 768, coldBytes: 48 << 20, calls: 100 },
  hardware: { rows: 4096, columns: 4096, coldBytes: 256 << 20, calls: 1000 },
} as const;

/**
 * ms that a sample takes if there are enough calls: long compared with the start and end of a pass,
 * and short enough for the hundreds of samples of a run.
 */
const SAMPLE_MS = 10;
export const MOST_COPIES = 256;
export const MOST_TOKENS = 8;
/** Positions that attention reads: a whole number of blocks. */
export const POSITIONS = 256;
export const SAMPLING: SamplingOptions = {
  ...GREEDY,
  temperature: 0.8,
  topK: 40,
  repeatPenalty: 1.1,
};

/** Calls of a kernel that are used in turn, each with its own data or all with the same. */
export interface Calls {
  /** Dispatches of the call with this number, below `count`. */
  readonly at: (call: number, tokens: number) => readonly Dispatch[];
  readonly count: number;
}

/** A kernel to time. */
export interface TimedKernel extends Omit<KernelCase, "time"> {
  /** Creates the calls. The buffers that it creates are freed afterwards. */
  readonly prepare: () => Calls | Promise<Calls>;
}

export function kernelCase(
  harness: Pick<KernelHarness, "time" | "release">,
  { prepare, ...kernel }: TimedKernel,
): KernelCase {
  return {
    ...kernel,
    time: async (counts, warmups, rounds) => {
      const samples = counts.map((): number[] => []);
      try {
        const { at, count } = await prepare();
        let next = 0;
        const time = async (tokens: number, calls: number) => {
          const first = next;
          next += calls;
          const dispatches = Array.from(
            { length: calls },
            (_, i) => at((first + i) % count, tokens),
          );
          return await harness.time(decodes(tokens), () => dispatches.flat()) / calls;
        };
        const calls: number[] = [];
        for (const tokens of counts) {
          await time(tokens, 1); // compiles
          calls.push(Math.min(count, Math.ceil(SAMPLE_MS / await time(tokens, 1))));
        }
        // The call that compiles counts as a warm-up.
        for (let round = 1 - warmups; round < rounds; round++) {
          for (const [i, tokens] of counts.entries()) {
            const ms = await time(tokens, calls[i]!);
            if (round >= 0) samples[i]!.push(ms);
          }
        }
      } finally {
        harness.release();
      }
      return samples;
    },
  };
}

/** The same dispatches for every call, for kernels that are too fast to be timed alone. */
export function repeated(
  harness: KernelHarness,
  at: (tokens: number) => Dispatch | readonly Dispatch[],
): Calls {
  return { at: (_, tokens) => [at(tokens)].flat(), count: SIZES[harness.gpu.driver].calls };
}

/** A decode step of `tokens` sequences, each at the last of POSITIONS positions. */
function decodes(tokens: number): Batch {
  const blocks = POSITIONS / BLOCK_TOKENS;
  return {
    sequences: Array.from({ length: tokens }, (_, slot) => ({
      slot,
      start: POSITIONS - 1,
      tokens: [slot],
      blockTables: [Array.from({ length: blocks }, (_, i) => slot * blocks + i)],
      sampling: { ...SAMPLING, seed: slot },
    })),
  };
}
