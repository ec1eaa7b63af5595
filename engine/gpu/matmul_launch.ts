/** Chooses the kernel of a matrix product. */

import {
  GPU_TILE,
  type MatmulCase,
  matmulDotsSpec,
  matmulLanesSpec,
  matmulSpec,
  matmulTilesSpec,
  PROMPT_TILE,
} from "../../kernels/matmul_specs.ts";
import type { LaneTuning, Tuning } from "../../kernels/tuning.ts";
import { multipliesBytes } from "./activation_planes.ts";
import type { Gpu } from "./device.ts";
import type { Pipeline, Pipelines } from "./pipelines.ts";

export interface MatmulLaunch {
  readonly pipeline: Pipeline;
  /** Rows per workgroup. */
  readonly rows: number;
  /** Whether the kernel reads planes of activations. */
  readonly planes?: true;
}

/** Returns the kernel that serves `c.tokens` tokens together. */
export function matmulLaunch(
  pipelines: Pipelines,
  tuning: Tuning,
  c: MatmulCase & { readonly columns: number; readonly normed: boolean },
): MatmulLaunch {
  const { matmul } = tuning;
  const { type, tokens, experts } = c;
  if (matmul.by === "rows") {
    const { lanes, groups } = matmul;
    const share = matmul.share && pipelines.gpu.subgroupSize >= 8;
    const spec = matmulSpec({ type, tokens, experts, lanes, groups, share });
    return { pipeline: pipelines.get(spec), rows: 4 * groups * lanes };
  }
  const { normed } = c;
  if (tokens === PROMPT_TILE.tokens) {
    return { pipeline: pipelines.get(matmulTilesSpec({ type, normed })), rows: PROMPT_TILE.rows };
  }
  const lanes = lanesFor(pipelines.gpu, matmul, c.columns / 32);
  const rows = 4 * GPU_TILE;
  if (experts === undefined && multipliesBytes(tuning, type, tokens)) {
    const spec = matmulDotsSpec({ type, tokens, ...lanes });
    return { pipeline: pipelines.get(spec), rows, planes: true };
  }
  const spec = matmulLanesSpec({ type, tokens, experts, normed, ...lanes });
  return { pipeline: pipelines.get(spec), rows };
}

/**
 * Returns how many lanes share a row of `spans` spans of 32 columns, and how many lanes of a
 * workgroup add their sums with subgroup shuffles (0 = none).
 */
export function lanesFor(
  { subgroupSize }: Pick<Gpu, "subgroupSize">,
  { split }: LaneTuning,
  spans: number,
): { readonly split: number; readonly subgroup: number } {
  const subgroup = subgroupSize > GPU_TILE ? Math.min(64, subgroupSize) : 0;
  // Without shuffles, the sums of all lanes go through workgroup memory; 16 KiB fit those of 64
  // lanes.
  let lanes = subgroup > 0 ? split : Math.min(split, 8);
  // Halve the lanes until they are busy at least three quarters of the time.
  while (
    lanes * GPU_TILE > Math.max(64, subgroup) && spans / (Math.ceil(spans / lanes) * lanes) < 0.75
  ) {
    lanes /= 2;
  }
  return { split: lanes, subgroup };
}
