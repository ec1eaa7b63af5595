/** Kernels of matrix products, each built for given launch sizes. */

import expertPart from "./expert_part.wgsl" with { type: "text" };
import experts from "./experts.wgsl" with { type: "text" };
import groupedExperts from "./grouped_experts.wgsl" with { type: "text" };
import layout from "./layout.wgsl" with { type: "text" };
import laneSum from "./lane_sum.wgsl" with { type: "text" };
import matmul from "./matmul.wgsl" with { type: "text" };
import matmulDots from "./matmul_dots.wgsl" with { type: "text" };
import matmulLanes from "./matmul_lanes.wgsl" with { type: "text" };
import matmulTiles from "./matmul_tiles.wgsl" with { type: "text" };
import oneMatrix from "./one_matrix.wgsl" with { type: "text" };
import product from "./product.wgsl" with { type: "text" };
import quantize from "./quantize.wgsl" with { type: "text" };
import route from "./route.wgsl" with { type: "text" };
import sumLanes from "./sum_lanes.wgsl" with { type: "text" };
import sumSubgroups from "./sum_subgroups.wgsl" with { type: "text" };
import xFloats from "./x_floats.wgsl" with { type: "text" };
import xOwn from "./x_own.wgsl" with { type: "text" };
import xShared from "./x_shared.wgsl" with { type: "text" };
import {
  DEVICE_FORMATS,
  type DeviceFormat,
  dotConstants,
  formatConstants,
  laneFormat,
} from "./formats.ts";
import type { KernelSpec } from "./spec.ts";
import type { TensorType } from "./tensor_types.ts";

/** Parameters of every kernel of a matrix product. */
export interface MatmulCase {
  readonly type: TensorType;
  /** Tokens per workgroup: each weight that is read serves all of them. */
  readonly tokens: number;
  /**
   * Set if each token is multiplied by the matrices of its experts instead of one matrix for all.
   * "single": a workgroup serves one slot (`tokens` is 1). "grouped": a workgroup serves `tokens`
   * slots of one expert, which groupSlotsSpec's kernel has sorted.
   */
  readonly experts?: "single" | "grouped" | undefined;
}

const MATRICES = {
  single: [route, expertPart, experts],
  grouped: [expertPart, groupedExperts],
};

/** y = W·x on software drivers. Reference: `matmul`, `rmsNorm`, `gatedMul` of reference.ts. */
export function matmulSpec(
  s: MatmulCase & {
    /** Groups of four rows that one invocation owns. */
    readonly groups: number;
    readonly lanes: number;
    /**
     * Whether lanes share the loading of activations (x_shared.wgsl). This needs subgroups of at
     * least eight lanes.
     */
    readonly share: boolean;
  },
): KernelSpec {
  return spec(s, {
    tile: 1,
    constants: [`const GROUPS = ${s.groups}u;`],
    helpers: [s.share ? xShared : xOwn],
    main: matmul,
    overrides: { LANES: s.lanes },
    lanes: s.lanes,
    workgroupBytes: 0,
  });
}

/** Groups of four rows whose units interleave on a GPU: TILE of matmul_lanes.wgsl. */
export const GPU_TILE = 8;

/** How lanes share a row and add their sums. */
export interface LaneSplit {
  /** Lanes that share a row. */
  readonly split: number;
  /**
   * Lanes that add their sums by subgroup shuffles, a power of two. If it is at most GPU_TILE, sums
   * are added through workgroup memory alone.
   */
  readonly subgroup: number;
}

/** y = W·x for one to eight tokens on GPUs. */
export function matmulLanesSpec(
  s: MatmulCase & LaneSplit & { readonly normed: boolean },
): KernelSpec {
  const format = laneFormat(s.type);
  const shared = sharedByLanes(s);
  return spec(s, {
    ...shared,
    format,
    constants: [...shared.constants, `const NORMED = ${s.normed};`],
    main: matmulLanes,
    workgroupBytes: shared.workgroupBytes + (format.table ? 1024 : 0),
  });
}

/**
 * y = W·x for one to eight tokens on GPUs, with activations that quantizeSpec's kernel has
 * normalized and quantized. It does not support experts.
 *
 * @throws {TypeError} if the quants are not integers of up to eight bits.
 */
export function matmulDotsSpec(s: Omit<MatmulCase, "experts"> & LaneSplit): KernelSpec {
  const own = dotConstants(s.type);
  if (own === undefined) {
    throw new TypeError(
      `Cannot use dot products for ${s.type}: its quants are not integers of up to eight bits`,
    );
  }
  const shared = sharedByLanes(s);
  return spec(s, {
    ...shared,
    name: "dots",
    constants: [...shared.constants, "const NORMED = false;", own],
    x: [],
    main: matmulDots,
  });
}

function sharedByLanes({ split, subgroup, tokens }: LaneSplit & { readonly tokens: number }) {
  const lanes = split * GPU_TILE;
  const shuffled = subgroup > GPU_TILE;
  const most = Math.min(subgroup, lanes);
  const parts = tokens * (shuffled ? lanes / most : split);
  return {
    tile: GPU_TILE,
    constants: [`const SPLIT = ${split}u;\nconst SUBGROUP = ${most}u;`],
    helpers: [shuffled ? sumSubgroups : sumLanes],
    lanes,
    workgroupBytes: parts * (GPU_TILE * 16 + (shuffled ? 4 : GPU_TILE * 4)),
  };
}

/** Quantizes activations to two planes of bytes. Reference: `rmsNorm` of reference.ts. */
export function quantizeSpec(
  s: {
    readonly columns: number;
    /** Epsilon of the RMSNorm that is applied first; undefined: none. */
    readonly epsilon?: number | undefined;
    /** Whether only the tokens whose logits are wanted are quantized. */
    readonly gathered: boolean;
    readonly lanes: number;
  },
): KernelSpec {
  return {
    name: "quantize",
    parts: [
      `const NORMED = ${s.epsilon !== undefined};\nconst GATHERED = ${s.gathered};`,
      laneSum,
      quantize,
    ],
    overrides: { SPANS: s.columns / 32, EPSILON: s.epsilon ?? 0, LANES: s.lanes },
    bindings: { 0: "read", 1: "read", 2: "write", 3: "write", 6: "step" },
    workgroupSize: [s.lanes, 1],
    workgroupBytes: s.lanes * 4,
  };
}

/** Tokens and rows per workgroup of matmul_tiles.wgsl. */
export const PROMPT_TILE = { tokens: 32, rows: 64 } as const;

/** y = W·x for many tokens on GPUs. */
export function matmulTilesSpec(
  s: { readonly type: TensorType; readonly normed: boolean },
): KernelSpec {
  const { tokens } = PROMPT_TILE;
  return spec({ ...s, tokens }, {
    tile: GPU_TILE,
    constants: [`const NORMED = ${s.normed};`],
    main: matmulTiles,
    lanes: 64,
    workgroupBytes: (8 * 65 + 8 * 33) * 16,
  });
}

/** The differences between the kernels of matrix products. */
interface Program {
  /** Name of the kernel, before the type's name; default: "experts" or "matmul". */
  readonly name?: string;
  readonly tile: number;
  /** Default: the type's entry in `DEVICE_FORMATS`. */
  readonly format?: DeviceFormat;
  /** WGSL that precedes the format's. */
  readonly constants: readonly string[];
  /** WGSL that follows the format's. */
  readonly helpers?: readonly string[];
  /** WGSL that declares the activations; default: x_floats.wgsl. */
  readonly x?: readonly string[];
  readonly main: string;
  readonly overrides?: Readonly<Record<string, number>>;
  readonly lanes: number;
  readonly workgroupBytes: number;
}

function spec(s: MatmulCase, program: Program): KernelSpec {
  const { tile, constants, main, overrides = {}, lanes, workgroupBytes } = program;
  const { format = DEVICE_FORMATS[s.type], helpers = [], x = [xFloats] } = program;
  const name = program.name ?? (s.experts ? "experts" : "matmul");
  const scales: KernelSpec["bindings"] = format.scaleWords > 0 ? { 1: "read" } : {};
  const routes: KernelSpec["bindings"] = s.experts ? { 8: "read" } : {};
  return {
    name: `${name}_${s.type.toLowerCase()}`,
    parts: [
      `const TILE = ${tile}u;\nconst TOKENS = ${s.tokens}u;`,
      ...constants,
      formatConstants(format),
      layout,
      ...format.wgsl,
      product,
      ...x,
      ...helpers,
      ...(s.experts ? MATRICES[s.experts] : [oneMatrix]),
      main,
    ],
    overrides,
    bindings: {
      0: "read",
      ...scales,
      2: "read",
      3: "read",
      4: "write",
      5: "read",
      6: "step",
      7: "uniform",
      ...routes,
    },
    workgroupSize: [lanes, 1],
    workgroupBytes,
  };
}
