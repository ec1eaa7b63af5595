/** The module of all kernels that one model needs. */

import type { TensorType } from "../tensor_types.ts";
import { addEncoder, type Encoding, encodingKey } from "./activations.ts";
import { ModuleBuilder } from "./assembler.ts";
import { addAttention } from "./attention.ts";
import { addMerge } from "./attention_merge.ts";
import { addConvolution, addDeltaNorm } from "./delta_net.ts";
import { addDeltaRule } from "./delta_rule.ts";
import { addDispatch } from "./dispatch.ts";
import { formatKey, isFloat, WASM_FORMATS, type WasmFormat } from "./formats.ts";
import { addFloatMatmul } from "./matmul_float.ts";
import { addMatmul } from "./matmul_integer.ts";
import { addMambaScan } from "./mamba_scan.ts";
import { type Activation, addGate, addNorm, addRelu2 } from "./prepare.ts";
import { encodingFor, type ProductForm } from "./products.ts";
import { addRepack } from "./repack.ts";
import { addRope, type CacheType } from "./rope.ts";
import { addCombine, addNormAdd, addPick } from "./rows.ts";

/** What the kernels of a model depend on. */
export interface KernelNeeds {
  /** Tensor types of its matrices. */
  readonly types: Iterable<TensorType>;
  readonly activations: Iterable<Activation>;
  /** Kinds of its layers with recurrent states; none by default. */
  readonly recurrent?: Iterable<{
    readonly kind: "delta-net" | "mamba";
    readonly keyDim: number;
    readonly taps: number;
  }>;
  readonly cache: CacheType;
  readonly form: ProductForm;
  /** Whether the memory has 64-bit addresses, for more than 4 GiB. */
  readonly wide: boolean;
  /** Maximum size of the memory, in pages of 64 KiB. */
  readonly maximum: number;
}

/** Indices of the kernels in the module's table, by which operations refer to them. */
export interface KernelIndex {
  readonly repack: ReadonlyMap<TensorType, number>;
  /** Keyed by formatKey. */
  readonly matmul: ReadonlyMap<string, number>;
  /** Keyed by encodingKey. */
  readonly encoders: ReadonlyMap<string, number>;
  readonly gates: ReadonlyMap<Activation, number>;
  readonly relu2: number;
  readonly norm: number;
  readonly normAdd: number;
  readonly rope: number;
  readonly attention: number;
  readonly merge: number;
  /** Keyed by the number of taps. */
  readonly convolutions: ReadonlyMap<number, number>;
  /** Keyed by the dimensions of a key. */
  readonly deltaRules: ReadonlyMap<number, number>;
  readonly mambaScans: ReadonlyMap<number, number>;
  /** Keyed by the kind of layer. */
  readonly deltaNorms: Readonly<Record<"delta-net" | "mamba", number>>;
  readonly combine: number;
  readonly pick: number;
}

export interface KernelModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly index: KernelIndex;
  /** Names of the kernels by index, for reports. */
  readonly names: readonly (string | undefined)[];
}

/** Returns the encoding of the activations that a matrix needs; undefined: float32. */
export function matrixEncoding(format: WasmFormat, form: ProductForm): Encoding | undefined {
  return isFloat(format) ? undefined : encodingFor(format, form);
}

export function makeKernels(needs: KernelNeeds): KernelModule {
  const { form } = needs;
  const module = new ModuleBuilder(needs.wide);
  const names: string[] = [];
  const named = (name: string, index: number): number => {
    names[index] = name;
    return index;
  };
  addDispatch(module);
  const repack = new Map<TensorType, number>();
  const matmul = new Map<string, number>();
  const encoders = new Map<string, number>();
  for (const type of new Set(needs.types)) {
    const format = WASM_FORMATS[type];
    repack.set(type, named(`repack_${type.toLowerCase()}`, addRepack(module, type)));
    const key = formatKey(format);
    if (!matmul.has(key)) {
      const index = isFloat(format)
        ? addFloatMatmul(module, format, form)
        : addMatmul(module, format, form);
      matmul.set(key, named(`matmul_${type.toLowerCase()}`, index));
    }
    const encoding = matrixEncoding(format, form);
    if (encoding && !encoders.has(encodingKey(encoding))) {
      encoders.set(encodingKey(encoding), addEncoder(module, encoding));
    }
  }
  const gates = new Map<Activation, number>();
  for (const activation of new Set(needs.activations)) {
    gates.set(activation, named(activation, addGate(module, activation)));
  }
  const convolutions = new Map<number, number>();
  const deltaRules = new Map<number, number>();
  const mambaScans = new Map<number, number>();
  for (const { kind, keyDim, taps } of needs.recurrent ?? []) {
    if (!convolutions.has(taps)) {
      convolutions.set(taps, named("convolution", addConvolution(module, taps)));
    }
    if (kind === "mamba" && !mambaScans.has(keyDim)) {
      mambaScans.set(keyDim, named("mamba_scan", addMambaScan(module, keyDim)));
    }
    if (kind === "delta-net" && !deltaRules.has(keyDim)) {
      deltaRules.set(keyDim, named("delta_rule", addDeltaRule(module, keyDim)));
    }
  }
  const index: KernelIndex = {
    repack,
    matmul,
    encoders,
    gates,
    relu2: named("relu2", addRelu2(module)),
    norm: named("norm", addNorm(module)),
    normAdd: named("norm_add", addNormAdd(module)),
    rope: named("rope_append", addRope(module, needs.cache)),
    attention: named("attention", addAttention(module, needs.cache, form)),
    merge: named("attention_merge", addMerge(module)),
    convolutions,
    deltaRules,
    mambaScans,
    deltaNorms: {
      "delta-net": named("delta_norm", addDeltaNorm(module, "delta-net")),
      mamba: named("mamba_norm", addDeltaNorm(module, "mamba")),
    },
    combine: named("expert_sum", addCombine(module)),
    pick: named("sample_argmax", addPick(module)),
  };
  return { bytes: module.build(needs.maximum), index, names };
}
