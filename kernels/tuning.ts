/** Launch sizes by the class of the adapter: measured choices, not properties of a machine. */

/** Launch sizes of every kernel family. */
export interface Tuning {
  /** Groups of four rows that lie next to each other in memory. */
  readonly tile: number;
  /** Matrix products: row-group owners per workgroup, groups each owns, invocations along a row. */
  readonly matmul: { readonly lanes: number; readonly groups: number; readonly split: number };
  /** Whether lanes share the loading of activations, where subgroups are large enough. */
  readonly share: boolean;
  /** The most tokens that one invocation of a matrix product serves. */
  readonly matmulTokens: number;
  readonly attentionLanes: number;
  /** The most heads of a KV head that one invocation of attention serves. */
  readonly attentionHeads: number;
  /** Lanes of kernels that work element by element or block by block. */
  readonly elementLanes: number;
  readonly sampleLanes: number;
  /** Logits that one workgroup reduces before the last one takes over. */
  readonly sampleChunk: number;
  /** Tokens that enter in one step, so that a wait stays well under half a second. */
  readonly batchTokens: number;
}

/**
 * Software drivers run eight lanes a core and gather each lane's loads one by one: few lanes, much
 * work in each, no cooperation.
 */
const SOFTWARE: Tuning = {
  tile: 1,
  matmul: { lanes: 8, groups: 2, split: 1 },
  share: true,
  matmulTokens: 8,
  attentionLanes: 8,
  attentionHeads: 8,
  elementLanes: 8,
  sampleLanes: 8,
  sampleChunk: 4096,
  batchTokens: 64,
};

/** Hardware: coalesced loads across lanes, and invocations along a row to fill the device. */
const HARDWARE: Tuning = {
  tile: 16,
  matmul: { lanes: 16, groups: 1, split: 16 },
  share: false,
  matmulTokens: 8,
  attentionLanes: 32,
  attentionHeads: 1,
  elementLanes: 64,
  sampleLanes: 256,
  sampleChunk: 4096,
  batchTokens: 512,
};

/**
 * How many of an expert's slots one invocation serves, in a step of so many tokens: no more than an
 * expert has on average, so that most places of a group are taken.
 */
export function slotsTogether(
  { matmulTokens }: Tuning,
  { count, slots }: { readonly count: number; readonly slots: number },
  tokens: number,
): number {
  return Math.max(1, Math.min(matmulTokens, Math.floor(tokens * slots / count)));
}

/** The launch sizes for a class of adapter. */
export function tuningFor(driver: "hardware" | "software"): Tuning {
  return driver === "software" ? SOFTWARE : HARDWARE;
}
