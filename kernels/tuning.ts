/** Launch sizes by the class and vendor of the adapter; tuning_variants.ts has those that are timed. */

import { GPU_TILE, PROMPT_TILE } from "./matmul_specs.ts";
import { MOST_BATCH_TOKENS } from "./sizes.ts";

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
  /** Tokens that enter in one step. */
  readonly batchTokens: number;
  /** Decode steps chained in one submit. */
  readonly steps: number;
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
  /** From how many tokens on the tiles of prompts are used. */
  readonly tilesFrom: number;
  /**
   * What decoding multiplies weights of up to eight bits with: "int8" is two planes of bytes
   * (matmul_dots.wgsl), for devices with instructions for packed dot products.
   */
  readonly activations: "float32" | "int8";
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
  /** The most workgroups that share a token's positions, of all tokens of a step together. */
  readonly parts: number;
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
  steps: 1,
};

const LANES: LaneTuning = { by: "lanes", split: 32, tilesFrom: 17, activations: "float32" };

/** Hardware: coalesced loads across lanes, and invocations along a row to fill the device. */
const HARDWARE: Tuning = {
  tile: GPU_TILE,
  matmul: LANES,
  matmulTokens: 8,
  attention: { by: "tiles", parts: 128 },
  elementLanes: 64,
  sampleLanes: 256,
  sampleChunk: 2048,
  batchTokens: MOST_BATCH_TOKENS,
  // The device is done with a token before the host has read the last one.
  steps: 4,
};

/**
 * Tokens that a kernel of a matrix product serves together in a step of so many. Lanes that share rows
 * have kernels for 1, 2, 4 and 8 tokens alone (a place that is left free costs no reading) and for
 * the tiles of prompts, which are better off than reading weights three times.
 */
export function tokensTogether({ matmul, matmulTokens }: Tuning, tokens: number): number {
  if (matmul.by === "lanes") {
    if (tokens >= matmul.tilesFrom) return PROMPT_TILE.tokens;
    return 2 ** Math.ceil(Math.log2(Math.min(matmulTokens, tokens)));
  }
  return Math.ceil(tokens / Math.ceil(tokens / matmulTokens));
}

/**
 * The numbers of tokens whose kernels are compiled while a model loads. On software drivers, which have
 * a kernel for each number and take some 60 ms to compile one, these are the least and the most.
 */
export function usualCounts(...args: Parameters<typeof tokenCounts>): number[] {
  const counts = tokenCounts(...args);
  if (args[0].matmul.by === "lanes") return counts;
  return [...new Set([counts[0]!, counts.at(-1)!])];
}

/** Every number of tokens that `tokensTogether` (or, of experts, `slotsTogether`) can give. */
export function tokenCounts(
  tuning: Tuning,
  experts?: { readonly count: number; readonly slots: number },
): number[] {
  const counts = new Set<number>();
  for (let tokens = 1; tokens <= tuning.batchTokens; tokens++) {
    counts.add(experts ? slotsTogether(tuning, experts, tokens) : tokensTogether(tuning, tokens));
  }
  return [...counts].sort((a, b) => a - b);
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

/** Launch sizes that nobody has measured on this very device, and whom they are for. */
export interface DefaultTuning {
  readonly tuning: Tuning;
  /** As in `defaults for AMD`. */
  readonly owner: string;
}

/** PCI's ids of vendors, and what Apple's adapters, which have none, are called. */
const VENDORS: readonly (readonly [name: string, ids: readonly number[], description: RegExp])[] = [
  ["AMD", [0x1002, 0x1022], /\b(amd|radeon|radv)\b/i],
  ["NVIDIA", [0x10de], /\b(nvidia|geforce|quadro|tesla)\b/i],
  ["Intel", [0x8086], /\bintel\b/i],
  ["Apple", [0x106b], /\bapple\b/i],
  ["Arm", [0x13b5], /\bmali\b/i],
  ["Qualcomm", [0x5143], /\badreno\b/i],
];

/** Of these vendors a workgroup of 256 lanes leaves room for several on a core. */
const LARGE_CORES = ["AMD", "NVIDIA", "Apple"];

/** The launch sizes for an adapter that was not tuned: those of its class, safe for its vendor. */
export function defaultTuning(
  { driver, vendor, description }: {
    readonly driver: "hardware" | "software";
    /** Its id, in decimal digits. */
    readonly vendor: string;
    readonly description: string;
  },
): DefaultTuning {
  if (driver === "software") return { tuning: SOFTWARE, owner: "software drivers" };
  const [name] =
    VENDORS.find(([, ids, words]) => ids.includes(Number(vendor)) || words.test(description)) ?? [];
  if (name !== undefined && LARGE_CORES.includes(name)) return { tuning: HARDWARE, owner: name };
  return {
    tuning: { ...HARDWARE, matmul: { ...LANES, split: 16 } },
    owner: name ?? "unknown GPUs",
  };
}
