/** Lists every kernel that a model can use on a hardware GPU. */

import { attentionKeysSpec, attentionMergeSpec, MOST_QUERIES } from "../kernels/attention_specs.ts";
import {
  convolutionSpec,
  deltaNormSpec,
  deltaRuleSpec,
  gatedGroupNormSpec,
  headGateSpec,
  mambaScanSpec,
  relu2Spec,
  sharedAddSpec,
} from "../kernels/recurrent_specs.ts";
import { combineSpec, groupSlotsSpec, topKSpec } from "../kernels/expert_specs.ts";
import { dotConstants } from "../kernels/formats.ts";
import {
  GPU_TILE,
  matmulDotsSpec,
  matmulLanesSpec,
  matmulTilesSpec,
  quantizeSpec,
} from "../kernels/matmul_specs.ts";
import {
  logitAdjustSpec,
  sampleChunksSpec,
  sampleKeepSpec,
  samplePickSpec,
} from "../kernels/sampling_specs.ts";
import type { KernelSpec } from "../kernels/spec.ts";
import { embedSpec, normAddSpec, ropeAppendSpec } from "../kernels/specs.ts";
import { GROUP_LAYOUT, type TensorType } from "../kernels/tensor_types.ts";
import { tuningFor } from "../kernels/tuning.ts";
import type { Gpu } from "../engine/gpu/device.ts";
import { lanesFor } from "../engine/gpu/matmul_launch.ts";

/** A kernel, and what its hottest loop reads per iteration. */
export interface Variant {
  readonly name: string;
  readonly spec: KernelSpec;
  /** Number of weights that an invocation reads per iteration; 0 for kernels without weights. */
  readonly weights: number;
  /** Bytes of activations, norms and the like that it reads besides. */
  readonly otherBytes: number;
}

const HEAD_SIZES = [64, 80, 96, 128, 256];
const TABLE = { groups: 1, group: 0 };
const VOCABULARY = 151936;
/** Number of spans of 32 in a row of 4,096 columns. */
const SPANS = 128;

/** Bytes of a superblock's scales that a lane loads together with other lanes of its subgroup. */
const SHARED_BYTES: Partial<Record<TensorType, number>> = {
  ...{ Q2_K: 14, Q3_K: 16, Q4_K: 16, Q5_K: 16, Q6_K: 7, IQ4_XS: 16 },
  ...{ MLX4_64: 8, MLX4_128: 12, MLX8_64: 8, MLX8_128: 12 },
};

function sharedBytes(type: TensorType): number {
  return SHARED_BYTES[type] ?? 0;
}

/** Returns the variants for a device with these subgroups. */
export function variants(
  gpu: Pick<Gpu, "subgroupSize"> & {
    /** Whether the device has instructions for packed dot products. */
    readonly packedDots: boolean;
  },
): Variant[] {
  const tuning = tuningFor("hardware");
  if (tuning.matmul.by !== "lanes") {
    throw new TypeError("Matrix products on hardware GPUs must use lanes");
  }
  const sizes = lanesFor(gpu, tuning.matmul, SPANS);
  const types = Object.keys(GROUP_LAYOUT) as TensorType[];
  return [
    ...types.flatMap((type) => [
      ...[1, 2, 4, 8].flatMap((tokens) =>
        [false, true].map((normed): Variant => ({
          name: `matmul ${type}, ${tokens} ${tokens > 1 ? "tokens" : "token"}${suffix(normed)}`,
          spec: matmulLanesSpec({ type, tokens, normed, ...sizes }),
          weights: 4 * 32,
          otherBytes: 128 * tokens + (normed ? 128 + 16 * tokens : 0) + sharedBytes(type),
        }))
      ),
      ...(gpu.packedDots && dotConstants(type) !== undefined ? [1, 2, 4, 8] : []).map((
        tokens,
      ): Variant => ({
        name: `dots ${type}, ${tokens} ${tokens > 1 ? "tokens" : "token"}`,
        spec: matmulDotsSpec({ type, tokens, ...sizes }),
        weights: 4 * 32,
        // Two planes of bytes, the unit and, if the weights have an offset left, the sums.
        otherBytes: (64 + (type === "Q8_0" ? 4 : 12)) * tokens + sharedBytes(type),
      })),
      ...[false, true].map((normed): Variant => ({
        name: `matmul ${type}, prompts${suffix(normed)}`,
        spec: matmulTilesSpec({ type, normed }),
        weights: 32,
        otherBytes: 4 * 16 + (normed ? 16 : 0),
      })),
      plain(`embed ${type}`, embedSpec({ type, scale: 1, tile: GPU_TILE, lanes: 64 })),
    ]),
    ...(["Q4_0", "Q4_K", "BF16"] as const).flatMap((type) =>
      ([["single", 1], ["grouped", 2], ["grouped", 8]] as const).map(
        ([experts, tokens]): Variant => ({
          name: `experts ${type}, ${experts}, ${tokens}`,
          spec: matmulLanesSpec({ type, tokens, experts, normed: true, ...sizes }),
          weights: 4 * 32,
          otherBytes: 128 * tokens + 128 + 16 * tokens,
        }),
      )
    ),
    ...(["f16", "f32"] as const).flatMap((kv) =>
      HEAD_SIZES.flatMap((headDim) =>
        [1, 3, MOST_QUERIES].flatMap((queryHeads) => {
          const shape = { heads: 2 * queryHeads, kvHeads: 2, headDim, scale: 0.1 };
          const spec = { ...shape, queryHeads, kv, table: TABLE };
          const queryTokens = Math.floor(MOST_QUERIES / queryHeads);
          const name = `attention ${kv}, ${headDim} wide, ${queryHeads}`;
          return [
            plain(`${name} × ${queryTokens}`, attentionKeysSpec({ ...spec, queryTokens })),
            ...[undefined, 1e-5].map((epsilon) =>
              plain(
                `${name}, decoding${suffix(epsilon !== undefined)}`,
                attentionKeysSpec({
                  ...spec,
                  queryTokens: 1,
                  rotation: { epsilon, ropeDims: headDim, half: true },
                }),
              )
            ),
          ];
        })
      )
    ),
    ...HEAD_SIZES.map((headDim) =>
      plain(`attention_merge, ${headDim} wide`, attentionMergeSpec({ heads: 32, headDim }))
    ),
    ...others(tuning.elementLanes, tuning.sampleLanes, tuning.sampleChunk),
  ];
}

function others(lanes: number, sampleLanes: number, chunk: number): Variant[] {
  const heads = { heads: 32, kvHeads: 8, headDim: 128 };
  const rope = { ...heads, ropeDims: 128, columns: true, table: TABLE, lanes };
  const sampling = { vocabulary: VOCABULARY, chunk, lanes: sampleLanes };
  return [
    ...[undefined, 1e-5].map((epsilon) =>
      plain(
        `quantize${suffix(epsilon !== undefined)}`,
        quantizeSpec({ columns: 4096, epsilon, gathered: false, lanes }),
      )
    ),
    plain("norm_add", normAddSpec({ dim: 4096, epsilon: 1e-5, lanes })),
    ...(["f16", "f32"] as const).flatMap((kv) =>
      [true, false].flatMap((half) =>
        [undefined, 1e-5].map((epsilon) =>
          plain(
            `rope_append ${kv}, ${half ? "halves" : "neighbours"}${suffix(epsilon !== undefined)}`,
            ropeAppendSpec({ ...rope, half, epsilon, kv }),
          )
        )
      )
    ),
    plain("convolution", convolutionSpec({ channels: 6144, taps: 4, bias: false, lanes })),
    plain(
      "delta_rule",
      deltaRuleSpec({
        ...{ keyHeads: 16, valueHeads: 32, keyDim: 128, valueDim: 128, tiled: true, lanes },
      }),
    ),
    plain(
      "mamba_scan",
      mambaScanSpec({ keyHeads: 8, valueHeads: 64, keyDim: 128, valueDim: 64, lanes }),
    ),
    plain(
      "gated_group_norm",
      gatedGroupNormSpec({ groups: 8, groupDim: 512, epsilon: 1e-5, lanes }),
    ),
    plain("relu2", relu2Spec({ width: 3712, lanes })),
    plain("delta_norm", deltaNormSpec({ heads: 32, headDim: 128, epsilon: 1e-6, lanes })),
    plain("head_gate", headGateSpec({ width: 4096, lanes })),
    plain("shared_add", sharedAddSpec({ width: 2048, lanes })),
    plain("top_k", topKSpec({ experts: 128, slots: 8, normalized: true, lanes })),
    plain(
      "top_k, sigmoids",
      topKSpec({ experts: 128, slots: 6, normalized: true, sigmoid: { scale: 2.5 }, lanes }),
    ),
    plain("group_slots", groupSlotsSpec({ experts: 128, slots: 8, tokens: 8, lanes })),
    plain("combine", combineSpec({ dim: 2048, slots: 8, add: true, lanes })),
    plain("logit_adjust", logitAdjustSpec(sampling)),
    plain("sample_chunks", sampleChunksSpec(sampling)),
    plain("sample_keep", sampleKeepSpec(sampling)),
    plain("sample_pick", samplePickSpec(sampling)),
  ];
}

function plain(name: string, spec: KernelSpec): Variant {
  return { name, spec, weights: 0, otherBytes: 0 };
}

function suffix(normed: boolean): string {
  return normed ? ", norm" : "";
}
