/** How a kernel is timed: many calls in one pass, for several numbers of tokens by turns. */

import type { Dispatch } from "../engine/gpu/pass.ts";
import {
  type Batch,
  BLOCK_TOKENS,
  GREEDY,
  type SamplingOptions,
} from "../engine/run/model_runner.ts";
import type { Rig } from "../engine/run/self_test/rig.ts";
import type { Cost, KernelCase } from "./target.ts";

/** By class of adapter: the matrix, bytes that no cache holds, dispatches of a small kernel. */
export const SIZES = {
  software: { rows: 1536, columns: 768, coldBytes: 48 << 20, calls: 100 },
  hardware: { rows: 4096, columns: 4096, coldBytes: 256 << 20, calls: 1000 },
} as const;

export const MOST_COPIES = 256;
export const MOST_TOKENS = 8;
/** Positions that attention looks back on, a whole number of blocks. */
export const POSITIONS = 256;
export const SAMPLING: SamplingOptions = {
  ...GREEDY,
  temperature: 0.8,
  topK: 40,
  repeatPenalty: 1.1,
};

/** Dispatches to repeat for a number of tokens, and how many calls of the kernel they are. */
export interface Calls {
  readonly dispatches: (tokens: number) => readonly Dispatch[];
  readonly count: number;
}

/** A kernel to time; what `prepare` makes is freed after it. */
export function kernelCase(
  rig: Rig,
  kernel: string,
  shape: string,
  cost: (tokens: number) => Cost | undefined,
  prepare: () => Calls | Promise<Calls>,
): KernelCase {
  return {
    kernel,
    shape,
    cost,
    time: async (counts, warmups, rounds) => {
      const samples = counts.map((): number[] => []);
      try {
        const { dispatches, count } = await prepare();
        for (let round = -warmups; round < rounds; round++) {
          for (const [i, tokens] of counts.entries()) {
            const ms = await rig.time(decodes(tokens), () => dispatches(tokens));
            if (round >= 0) samples[i]!.push(ms / count);
          }
        }
      } finally {
        rig.release();
      }
      return samples;
    },
  };
}

/** The same dispatch again and again, for kernels that are too quick to be timed alone. */
export function repeated(rig: Rig, at: (tokens: number) => Dispatch): Calls {
  const { calls } = SIZES[rig.gpu.driver];
  return { dispatches: (tokens) => new Array<Dispatch>(calls).fill(at(tokens)), count: calls };
}

/** A decode step of `tokens` sequences, each at the last of POSITIONS positions. */
export function decodes(tokens: number): Batch {
  const blocks = POSITIONS / BLOCK_TOKENS;
  return {
    sequences: Array.from({ length: tokens }, (_, slot) => ({
      slot,
      start: POSITIONS - 1,
      tokens: [slot],
      blockTable: Array.from({ length: blocks }, (_, i) => slot * blocks + i),
      sampling: { ...SAMPLING, seed: slot },
    })),
  };
}
