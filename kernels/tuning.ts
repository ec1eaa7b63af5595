/** Launch sizes by the class of the adapter: measured choices, not properties of a machine. */

import { GPU_TILE, PROMPT_TILE } from "./matmul_specs.ts";

/** Launch sizes of every kernel family. */
export interface Tuning {
  /** Groups of four rows that lie next to each other in memory. */
  readonly tile: number;
  readonly matmul: OwnerTuning | LaneTuning;
  /** The most tokens that one invocation of a matrix product serves. */
  readonly matmulTokens: number;
  readonly attention: PositionTuning | TileTuning;
  /** Lanes of kernels that work element by element or span by span. */
  readonly elementLanes: number;
  readonly sampleLanes: number;
  /** Logits that one workgroup reduces before the last one takes over. */
  readonly sampleChunk: number;
  /** Tokens that enter in one step, so that a wait stays well under half a second. */
  readonly batchTokens: number;
}

/** Matrix products whose invocations own rows: matmul.wgsl. */
export interface OwnerTuning {
  readonly by: "rows";
  readonly lanes: number;
  /** Groups of four rows that each owns. */
  readonly groups: number;
  /** Whether lanes share the loading of activations, where subgroups are large enough. */
  readonly share: boolean;
}

/** Matrix products whose lanes share rows: matmul_lanes.wgsl and, for prompts, matmul_tiles.wgsl. */
export interface LaneTuning {
  readonly by: "lanes";
  /** The most lanes along a row. */
  readonly split: number;
}

/** Attention whose lanes have positions: attention.wgsl. */
export interface PositionTuning {
  readonly by: "positions";
  readonly lanes: number;
  /** The most heads of a KV head that one invocation serves. */
  readonly heads: number;
}

/** Attention whose workgroups have queries and tiles of positions: attention_keys.wgsl. */
export interface TileTuning {
  readonly by: "tiles";
}

/**
 * Software drivers run eight lanes a core and gather each lane's loads one by one: few lanes, much
 * work in each, no cooperation. But llvmpipe silently ends an invocation's loops after 65,535 rounds
 * in all, which sampling from a flat distribution over a large vocabulary would reach with eight lanes.
 */
const SOFTWARE: Tuning = {
  tile: 1,
  matmul: { by: "rows", lanes: 8, groups: 2, share: true },
  matmulTokens: 8,
  attention: { by: "positions", lanes: 8, heads: 8 },
  elementLanes: 8,
  sampleLanes: 64,
  sampleChunk: 2048,
  batchTokens: 64,
};

/** Hardware: coalesced loads across lanes, and invocations along a row to fill the device. */
const HARDWARE: Tuning = {
  tile: GPU_TILE,
  matmul: { by: "lanes", split: 32 },
  matmulTokens: 8,
  attention: { by: "tiles" },
  elementLanes: 64,
  sampleLanes: 256,
  sampleChunk: 2048,
  batchTokens: 512,
};

/**
 * Tokens that a kernel of a matrix product serves together in a step of so many. Lanes that share rows
 * have kernels for 1, 2, 4 and 8 tokens alone (a place that is left free costs no reading) and for
 * the tiles of prompts, which are better off than reading weights three times.
 */
export function tokensTogether({ matmul, matmulTokens }: Tuning, tokens: number): number {
  if (matmul.by === "lanes") {
    if (tokens > 2 * matmulTokens) return PROMPT_TILE.tokens;
    return 2 ** Math.ceil(Math.log2(Math.min(matmulTokens, tokens)));
  }
  return Math.ceil(tokens / Math.ceil(tokens / matmulTokens));
}

/**
 * Every number of tokens that `tokensTogether` (or, of experts, `slotsTogether`) can give, where there
 * are few: their kernels are compiled while weights load, not within a request.
 */
export function tokenCounts({ matmul, matmulTokens }: Tuning, experts: boolean): number[] {
  if (matmul.by === "rows") return [];
  const counts = [1, 2, 4, 8].filter((tokens) => tokens <= matmulTokens);
  return experts ? counts : [...counts, PROMPT_TILE.tokens];
}

/**
 * How many of an expert's slots one invocation serves, in a step of so many tokens: no more than an
 * expert has on average, so that most places of a group are taken.
 */
export function slotsTogether(
  { matmul, matmulTokens }: Tuning,
  { count, slots }: { readonly count: number; readonly slots: number },
  tokens: number,
): number {
  const together = Math.max(1, Math.min(matmulTokens, Math.floor(tokens * slots / count)));
  return matmul.by === "lanes" ? 2 ** Math.floor(Math.log2(together)) : together;
}

/** The launch sizes for a class of adapter. */
export function tuningFor(driver: "hardware" | "software"): Tuning {
  return driver === "software" ? SOFTWARE : HARDWARE;
}
