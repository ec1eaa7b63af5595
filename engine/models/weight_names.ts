/** The weights of a decoder-only transformer: their names in files and their shapes. */

import type { ModelConfig } from "./config.ts";

/** The sizes that shapes are made of. */
export type WeightSize = "vocab" | "dim" | "queries" | "keys" | "head" | "ffn" | "ropePairs";

/** One weight: where files have it, how large it is, and which models have it. */
export interface WeightSpec {
  /** Name in GGUF; `{}` stands for the layer. */
  readonly gguf: string;
  /** Outermost first: [rows, columns], or [elements] of a vector. */
  readonly shape: readonly WeightSize[];
  /** The config's field that says whether the model has it; always if absent. */
  readonly if?: "qkvBias" | "queryKeyNorm" | "ropeFactors" | "untiedOutput";
}

/** Weights that a model has once. Source of the names: llama.cpp's llama-arch.cpp. */
export const MODEL_WEIGHTS = {
  embedding: { gguf: "token_embd.weight", shape: ["vocab", "dim"] },
  outputNorm: { gguf: "output_norm.weight", shape: ["dim"] },
  output: { gguf: "output.weight", shape: ["vocab", "dim"], if: "untiedOutput" },
  ropeFactors: { gguf: "rope_freqs.weight", shape: ["ropePairs"], if: "ropeFactors" },
} as const satisfies Record<string, WeightSpec>;

/** Weights that every layer has, in the order in which the forward pass uses them. */
export const LAYER_WEIGHTS = {
  attentionNorm: { gguf: "blk.{}.attn_norm.weight", shape: ["dim"] },
  query: { gguf: "blk.{}.attn_q.weight", shape: ["queries", "dim"] },
  queryBias: { gguf: "blk.{}.attn_q.bias", shape: ["queries"], if: "qkvBias" },
  key: { gguf: "blk.{}.attn_k.weight", shape: ["keys", "dim"] },
  keyBias: { gguf: "blk.{}.attn_k.bias", shape: ["keys"], if: "qkvBias" },
  value: { gguf: "blk.{}.attn_v.weight", shape: ["keys", "dim"] },
  valueBias: { gguf: "blk.{}.attn_v.bias", shape: ["keys"], if: "qkvBias" },
  queryNorm: { gguf: "blk.{}.attn_q_norm.weight", shape: ["head"], if: "queryKeyNorm" },
  keyNorm: { gguf: "blk.{}.attn_k_norm.weight", shape: ["head"], if: "queryKeyNorm" },
  attentionOutput: { gguf: "blk.{}.attn_output.weight", shape: ["dim", "queries"] },
  ffnNorm: { gguf: "blk.{}.ffn_norm.weight", shape: ["dim"] },
  gate: { gguf: "blk.{}.ffn_gate.weight", shape: ["ffn", "dim"] },
  up: { gguf: "blk.{}.ffn_up.weight", shape: ["ffn", "dim"] },
  down: { gguf: "blk.{}.ffn_down.weight", shape: ["dim", "ffn"] },
} as const satisfies Record<string, WeightSpec>;

/** What the weights are called in the engine. */
export type ModelWeight = keyof typeof MODEL_WEIGHTS;
export type LayerWeight = keyof typeof LAYER_WEIGHTS;

/** A weight that a model must have. */
export interface ExpectedWeight {
  readonly name: string;
  readonly shape: readonly number[];
}

/** The name in GGUF of a weight of the model, or of one of layer `layer`. */
export function ggufName(weight: ModelWeight): string;
export function ggufName(weight: LayerWeight, layer: number): string;
export function ggufName(weight: ModelWeight | LayerWeight, layer?: number): string {
  return layer === undefined
    ? MODEL_WEIGHTS[weight as ModelWeight].gguf
    : LAYER_WEIGHTS[weight as LayerWeight].gguf.replace("{}", String(layer));
}

/** Every weight that a model of `config` has, by its name in GGUF. */
export function* expectedWeights(config: ModelConfig): Generator<ExpectedWeight> {
  for (const spec of Object.values(MODEL_WEIGHTS)) {
    if (present(spec, config)) yield { name: spec.gguf, shape: shapeOf(spec, config) };
  }
  for (let layer = 0; layer < config.layers; layer++) {
    for (const spec of Object.values(LAYER_WEIGHTS)) {
      const name = spec.gguf.replace("{}", String(layer));
      if (present(spec, config)) yield { name, shape: shapeOf(spec, config) };
    }
  }
}

function present(spec: WeightSpec, config: ModelConfig): boolean {
  if (spec.if === undefined) return true;
  return spec.if === "untiedOutput" ? !config.tiedOutput : config[spec.if];
}

function shapeOf(spec: WeightSpec, config: ModelConfig): number[] {
  const sizes: Record<WeightSize, number> = {
    vocab: config.vocabSize,
    dim: config.dim,
    queries: config.heads * config.headDim,
    keys: config.kvHeads * config.headDim,
    head: config.headDim,
    ffn: config.ffnDim,
    ropePairs: config.ropeDims / 2,
  };
  return spec.shape.map((size) => sizes[size]);
}
