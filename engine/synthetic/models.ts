/** Models with random weights and published dimensions, to measure speed and memory with. */

import type { GgufTensorData, GgufValue } from "../files/gguf_writer.ts";
import { GROUP_LAYOUT, type TensorType } from "../../kernels/tensor_types.ts";
import { architectureOf, configOf } from "../model/architectures/mod.ts";
import type { ExpectedWeight } from "../model/expected_weights.ts";
import { storedWeights } from "../model/fused_tensors.ts";
import type { Hyperparameters, LayerKind } from "../model/hyperparameters.ts";
import type { RopeScaling } from "../model/rope.ts";
import { syntheticMetadata, syntheticVocabulary, withoutPhi3 } from "./metadata.ts";
import { factorTensors } from "./rope_scaling.ts";
import { staysF32, syntheticTensor } from "./weights.ts";
import { ggufName } from "../model/weight_names.ts";

/** Formats of the matrices: a single type as llama.cpp applies it, or its mixture Q4_K_M. */
export const SYNTHETIC_FORMATS = [
  "F32",
  "F16",
  "BF16",
  "Q4_0",
  "Q4_1",
  "Q8_0",
  "Q4_K",
  "Q4_K_M",
  "Q6_K",
  "IQ4_NL",
  "IQ4_XS",
  "MXFP4",
] as const;
export type SyntheticFormat = typeof SYNTHETIC_FORMATS[number];

/** The values of a model's config.json in which models differ. */
type Size =
  & Omit<Hyperparameters, "name" | "rmsEpsilon" | "rope" | "attentionBias">
  & {
    readonly ropeBase: number;
    /** Default: the head size. */
    readonly ropeDims?: number;
    /** Default: no scaling. */
    readonly ropeScaling?: RopeScaling;
  };

const TINY = {
  dim: 256,
  layers: 2,
  heads: 8,
  kvHeads: 2,
  headDim: 32,
  ffnDim: 512,
  vocabSize: 1024,
  contextLength: 2048,
  ropeBase: 10_000,
  tiedOutput: true,
} as const;
const TINY_MAMBA = {
  keyHeads: 2,
  valueHeads: 8,
  keyDim: 32,
  valueDim: 64,
  taps: 4,
  convolutionBias: true,
} as const;
const QWEN = {
  vocabSize: 151_936,
  contextLength: 32_768,
  ropeBase: 1e6,
  tiedOutput: true,
} as const;

/**
 * Returns a small version of Phi-3's LongRoPE: contexts beyond 512 tokens have factors that slow
 * down slow pairs the most.
 */
function tinyLongRope(dims: number): RopeScaling {
  const [originalContext, context] = [512, TINY.contextLength];
  const factor = context / originalContext;
  return {
    kind: "longrope",
    short: Array.from({ length: dims / 2 }, (_, i) => 1 + i / dims),
    long: Array.from({ length: dims / 2 }, (_, i) => factor ** (2 * i / dims)),
    originalContext,
    context,
    attentionFactor: Math.sqrt(1 + Math.log(factor) / Math.log(originalContext)),
  };
}

/** Returns Nemotron-H's layers from the letters of its config.json. */
function kindsOf(pattern: string): LayerKind[] {
  const kinds = { M: "mamba", "*": "attention", E: "experts" } as const;
  return Array.from(pattern, (letter) => kinds[letter as keyof typeof kinds]);
}

/** Source: the config.json of each model. */
// deno-fmt-ignore
const SIZES: ReadonlyMap<string, Size> = new Map<string, Size>([
  ["tiny-llama", { architecture: "llama", ...TINY, tiedOutput: false }],
  ["tiny-qwen2", { architecture: "qwen2", ...TINY }],
  ["tiny-qwen3", { architecture: "qwen3", ...TINY, headDim: 64 }],
  ["tiny-qwen3moe", {
    architecture: "qwen3moe", ...TINY, headDim: 64,
    experts: { count: 8, used: 2, width: 256, normalized: true },
  }],
  ["tiny-gemma3", {
    architecture: "gemma3", ...TINY, dim: 128, layers: 6, headDim: 64, ropeBase: 1e6,
    window: { tokens: 32, period: 6, ropeBase: 10_000 },
  }],
  ["tiny-smollm3", {
    architecture: "smollm3", ...TINY, layers: 4, ropeBase: 5e6,
    rotates: [true, true, true, false],
  }],
  ["tiny-granite", {
    architecture: "granite", ...TINY, ropeBase: 1e7,
    scales: { embedding: 12, residual: 0.22, attention: 0.03125, logits: 8 },
  }],
  ["tiny-qwen3.5", {
    architecture: "qwen35", ...TINY, layers: 4, headDim: 64, ropeDims: 16, ropeBase: 1e7,
    deltaNet: {
      keyHeads: 4, valueHeads: 4, keyDim: 64, valueDim: 64, taps: 4, tiled: true, period: 4,
    },
  }],
  ["tiny-qwen3.5moe", {
    architecture: "qwen35moe", ...TINY, layers: 4, headDim: 64, ropeDims: 16, ropeBase: 1e7,
    deltaNet: {
      keyHeads: 4, valueHeads: 4, keyDim: 64, valueDim: 64, taps: 4, tiled: true, period: 4,
    },
    experts: { count: 8, used: 2, width: 256, normalized: true, shared: { width: 256 } },
  }],
  ["tiny-nemotron-h", {
    architecture: "nemotron_h", ...TINY, tiedOutput: false, layers: 5,
    kinds: ["mamba", "dense", "mamba", "attention", "dense"],
    mamba: TINY_MAMBA,
  }],
  ["tiny-nemotron-h-moe", {
    architecture: "nemotron_h_moe", ...TINY, tiedOutput: false, layers: 5,
    kinds: ["mamba", "experts", "mamba", "attention", "experts"],
    mamba: TINY_MAMBA,
    experts: {
      count: 8, used: 2, width: 256, normalized: true, sigmoid: { scale: 2.5 },
      shared: { width: 512, always: true },
    },
  }],
  ["tiny-phi3", {
    architecture: "phi3", ...TINY, tiedOutput: false, ropeDims: 24, ropeScaling: tinyLongRope(24),
  }],
  ["tinyllama-1.1b", {
    architecture: "llama", dim: 2048, layers: 22, heads: 32, kvHeads: 4, headDim: 64, ffnDim: 5632,
    vocabSize: 32_000, contextLength: 2048, ropeBase: 10_000, tiedOutput: false,
  }],
  ["llama-3.2-1b", {
    architecture: "llama", dim: 2048, layers: 16, heads: 32, kvHeads: 8, headDim: 64, ffnDim: 8192,
    vocabSize: 128_256, contextLength: 131_072, ropeBase: 500_000, tiedOutput: true,
  }],
  ["llama-3.2-3b", {
    architecture: "llama", dim: 3072, layers: 28, heads: 24, kvHeads: 8, headDim: 128, ffnDim: 8192,
    vocabSize: 128_256, contextLength: 131_072, ropeBase: 500_000, tiedOutput: true,
  }],
  ["qwen2.5-0.5b", {
    architecture: "qwen2", dim: 896, layers: 24, heads: 14, kvHeads: 2, headDim: 64, ffnDim: 4864,
    ...QWEN,
  }],
  ["qwen2.5-1.5b", {
    architecture: "qwen2", dim: 1536, layers: 28, heads: 12, kvHeads: 2, headDim: 128, ffnDim: 8960,
    ...QWEN,
  }],
  ["qwen3-0.6b", {
    architecture: "qwen3", dim: 1024, layers: 28, heads: 16, kvHeads: 8, headDim: 128, ffnDim: 3072,
    ...QWEN, contextLength: 40_960,
  }],
  ["qwen3.5-0.8b", {
    architecture: "qwen35", dim: 1024, layers: 24, heads: 8, kvHeads: 2, headDim: 256, ffnDim: 3584,
    ropeDims: 64, vocabSize: 248_320, contextLength: 262_144, ropeBase: 1e7, tiedOutput: true,
    deltaNet: {
      keyHeads: 16, valueHeads: 16, keyDim: 128, valueDim: 128, taps: 4, tiled: true, period: 4,
    },
  }],
  ["qwen3-30b-a3b", {
    architecture: "qwen3moe", dim: 2048, layers: 48, heads: 32, kvHeads: 4, headDim: 128,
    ffnDim: 6144, ...QWEN, contextLength: 40_960, tiedOutput: false,
    experts: { count: 128, used: 8, width: 768, normalized: true },
  }],
  ["nemotron-3-nano-30b-a3b", {
    architecture: "nemotron_h_moe", dim: 2688, layers: 52, heads: 32, kvHeads: 2, headDim: 128,
    ffnDim: 1856, vocabSize: 131_072, contextLength: 262_144, ropeBase: 10_000, tiedOutput: false,
    kinds: kindsOf("MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"),
    mamba: {
      keyHeads: 8, valueHeads: 64, keyDim: 128, valueDim: 64, taps: 4, convolutionBias: true,
    },
    experts: {
      count: 128, used: 6, width: 1856, normalized: true, sigmoid: { scale: 2.5 },
      shared: { width: 3712, always: true },
    },
  }],
]);

/** Returns the names of the available models. */
export function syntheticModelNames(): string[] {
  return [...SIZES.keys()];
}

/** The contents of a GGUF file. */
export interface SyntheticModel {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensorData[];
}

/**
 * Describes the model. Its weights are generated while they are written.
 *
 * @param seed determines the weights: the same seed results in the same file
 * @throws {RangeError} for a name that is not one of `syntheticModelNames()`.
 */
export function syntheticModel(
  name: string,
  format: SyntheticFormat,
  seed: number,
): SyntheticModel {
  const h = syntheticHyperparameters(name);
  const factors = factorTensors(h.rope);
  const isFactor = (name: string) => factors.some((tensor) => tensor.name === name);
  const tensors = [
    ...storedWeights(configOf(h)).filter(({ name }) => !isFactor(name)).map((
      { gguf: name, shape, ggufShape = shape },
    ) => ({
      ...syntheticTensor({ name, shape, type: tensorType({ name, shape }, format, h) }, seed),
      shape: ggufShape,
    })),
    ...factors,
  ];
  const vocabulary = syntheticVocabulary(h.vocabSize);
  return { metadata: syntheticMetadata(h, vocabulary, syntheticPre(h)), tensors };
}

/** Returns the model's `tokenizer.ggml.pre`. */
export function syntheticPre({ architecture }: Hyperparameters): string {
  return architecture === "llama"
    ? "smollm"
    : architecture.startsWith("qwen35")
    ? "qwen35"
    : "qwen2";
}

/**
 * Returns the model's hyperparameters, as its GGUF file states them.
 *
 * @throws {RangeError} for a name that is not one of `syntheticModelNames()`.
 */
export function syntheticHyperparameters(name: string): Hyperparameters {
  const found = SIZES.get(name);
  if (found === undefined) {
    throw new RangeError(
      `Cannot generate the model '${name}': the known ones are ${syntheticModelNames().join(", ")}`,
    );
  }
  const { ropeBase: base, ropeDims, ropeScaling = { kind: "none" }, ...size } = found;
  const { ggufRopeLayout: layout, attentionBias } = architectureOf(size);
  return {
    ...size,
    name: `${withoutPhi3(name)} with random weights`,
    rmsEpsilon: /^(llama|granite|phi3|nemotron_h(_moe)?)$/.test(size.architecture) ? 1e-5 : 1e-6,
    attentionBias: attentionBias === true,
    rope: {
      base,
      dims: ropeDims ?? size.headDim,
      layout,
      scaling: ropeScaling,
      factors: name.startsWith("llama-3"),
    },
  };
}

/**
 * Returns the type of a tensor, chosen as llama.cpp does (llama_tensor_get_type of
 * llama-quant.cpp). Vectors, routers and convolutions stay F32. In 4-bit formats the output head,
 * or the embedding in its place, is Q6_K. In Q4_K_M half of the values and downs are Q6_K. A type
 * with blocks that do not divide a row is replaced by one with blocks of 32 weights.
 */
function tensorType(
  { name, shape }: Pick<ExpectedWeight, "name" | "shape">,
  format: SyntheticFormat,
  h: Hyperparameters,
): TensorType {
  if (staysF32(name, shape)) return "F32";
  const head = ggufName(h.tiedOutput ? "embedding" : "output");
  const small = format.startsWith("Q4") || format.startsWith("IQ4");
  const layer = Number(/^blk\.(\d+)\.(attn_v|ffn_down|ffn_down_exps)\./.exec(name)?.[1] ?? NaN);
  const finer = small && name === head ||
    format === "Q4_K_M" && takesMoreBits(layer, h.layers);
  const type = finer ? "Q6_K" : format === "Q4_K_M" ? "Q4_K" : format;
  if (shape.at(-1)! % GROUP_LAYOUT[type].weights === 0) return type;
  return type === "Q4_K" ? "Q5_0" : type === "IQ4_XS" ? "IQ4_NL" : "Q8_0";
}

/**
 * Whether the layer is in the first or last eighth, or every third of the others; false for NaN.
 */
function takesMoreBits(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= Math.floor(7 * layers / 8) || (layer - eighth) % 3 === 2;
}
