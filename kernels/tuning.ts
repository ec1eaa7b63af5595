/**
 * Default launch sizes by the class and vendor of the adapter; `tvllm tune` times
 * tuning_variants.ts.
 */

import { GPU_TILE, PROMPT_TILE } from "./matmul_specs.ts";
import { MOST_BATCH_TOKENS } from "./sizes.ts";

/** Launch sizes of every kernel family. */
export interface Tuning {
  /** Groups of four rows whose units interleave in memory: TILE of layout.wgsl. */
  readonly tile: number;
  readonly matmul: OwnerTuning | LaneTuning;
  /** The most tokens that one invocation of a matrix product serves. */
  readonly matmulTokens: number;
  readonly attention: PositionTuning | TileTuning;
  /** Lanes per workgroup of kernels that work element by element or span by span. */
  readonly elementLanes: number;
  /** Lanes per workgroup of the sampling kernels. */
  readonly sampleLanes: number;
  /** Logits per workgroup of the sampling kernels. */
  readonly sampleChunk: number;
  /** The most tokens of one step. */
  readonly batchTokens: number;
  /** Decode steps chained in one submit. */
  readonly steps: number;
}

/** Matrix products whose invocations own rows: matmul.wgsl. */
export interface OwnerTuning {
  readonly by: "rows";
  readonly lanes: number;
  /** Groups of four rows per invocation. */
  readonly groups: number;
  /** Whether lanes share the loading of activations if subgroups are large enough. */
  readonly share: boolean;
}

/**
 * Matrix products whose lanes share rows: matmul_lanes.wgsl and, for prompts, matmul_tiles.wgsl.
 */
export interface LaneTuning {
  readonly by: "lanes";
  /** The most lanes that share a row. */
  readonly split: number;
  /** The fewest tokens of a step for which matmul_tiles.wgsl is used. */
  readonly tilesFrom: number;
  /**
   * Type of the activations that decoding multiplies by weights of up to eight bits. "int8" is two
   * planes of bytes (matmul_dots.wgsl), for devices with instructions for packed dot products.
   */
  readonly activations: "float32" | "int8";
}

/** Attention that distributes positions over lanes: attention.wgsl. */
export interface PositionTuning {
  readonly by: "positions";
  readonly lanes: number;
  /** The most heads of a KV head that one invocation serves. */
  readonly heads: number;
}

/** Attention whose workgroups process queries over tiles of positions: attention_keys.wgsl. */
export interface TileTuning {
  readonly by: "tiles";
  /** The most workgroups that share the positions of a token, summed over the tokens of a step. */
  readonly parts: number;
}

/**
 * Software drivers run eight lanes per core and do the loads of the lanes one by one. Most kernels
 * therefore use few lanes, with much work in each and no cooperation. Sampling uses more, because
 * llvmpipe silently ends an invocation's loops after 65,535 iterations in total, and eight lanes
 * would reach that when they sample from a flat distribution over a large vocabulary.
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

/**
 * Hardware needs loads that are coalesced across lanes, and many lanes per row to fill the device.
 */
const HARDWARE: Tuning = {
  tile: GPU_TILE,
  matmul: LANES,
  matmulTokens: 8,
  attention: { by: "tiles", parts: 128 },
  elementLanes: 64,
  sampleLanes: 256,
  sampleChunk: 2048,
  batchTokens: MOST_BATCH_TOKENS,
  // The device finishes a token before the host has read the previous one.
  steps: 4,
};

/**
 * Returns how many tokens a workgroup of a matrix product serves together in a step of `tokens`. If
 * lanes share rows, there are kernels only for 1, 2, 4 and 8 tokens (an unused place costs no
 * reads) and for the tiles of prompts, which are faster than reading the weights three times.
 */
export function tokensTogether({ matmul, matmulTokens }: Tuning, tokens: number): number {
  if (matmul.by === "lanes") {
    if (tokens >= matmul.tilesFrom) return PROMPT_TILE.tokens;
    return 2 ** Math.ceil(Math.log2(Math.min(matmulTokens, tokens)));
  }
  return Math.ceil(tokens / Math.ceil(tokens / matmulTokens));
}

/**
 * Returns the token counts whose kernels are compiled while a model loads. Software drivers have a
 * kernel for each count and take about 60 ms to compile one, so these are only the lowest and the
 * highest count.
 */
export function usualCounts(...args: Parameters<typeof tokenCounts>): number[] {
  const counts = tokenCounts(...args);
  if (args[0].matmul.by === "lanes") return counts;
  return [...new Set([counts[0]!, counts.at(-1)!])];
}

/**
 * Returns every count that `tokensTogether` (for experts, `slotsTogether`) can return, ascending.
 */
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
 * Returns how many slots of an expert a workgroup serves together in a step of `tokens`: at most
 * the average number of slots per expert, so that most places of a group are used.
 */
export function slotsTogether(
  { matmul, matmulTokens }: Tuning,
  { count, slots }: { readonly count: number; readonly slots: number },
  tokens: number,
): number {
  const together = Math.max(1, Math.min(matmulTokens, Math.floor(tokens * slots / count)));
  return matmul.by === "lanes" ? 2 ** Math.floor(Math.log2(together)) : together;
}

/** Returns the launch sizes for a class of adapter. */
export function tuningFor(driver: "hardware" | "software"): Tuning {
  return driver === "software" ? SOFTWARE : HARDWARE;
}

/** Launch sizes that were not measured on this device, and what they are the defaults for. */
export interface DefaultTuning {
  readonly tuning: Tuning;
  /** The vendor or class, as in `defaults for AMD`. */
  readonly owner: string;
}

/** Vendors by PCI id, or by the adapter's description if it reports no id, as Apple's do not. */
const VENDORS: readonly (readonly [name: string, ids: readonly number[], description: RegExp])[] = [
  ["AMD", [0x1002, 0x1022], /\b(amd|radeon|radv)\b/i],
  ["NVIDIA", [0x10de], /\b(nvidia|geforce|quadro|tesla)\b/i],
  ["Intel", [0x8086], /\bintel\b/i],
  ["Apple", [0x106b], /\bapple\b/i],
  ["Arm", [0x13b5], /\bmali\b/i],
  ["Qualcomm", [0x5143], /\badreno\b/i],
];

/** Vendors on whose cores several workgroups of 256 lanes fit at once. */
const LARGE_CORES = ["AMD", "NVIDIA", "Apple"];

/**
 * Returns the launch sizes for an untuned adapter: those of its class that are safe for its vendor.
 */
export function defaultTuning(
  { driver, vendor, description }: {
    readonly driver: "hardware" | "software";
    /** PCI id of the vendor, in decimal digits. */
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
