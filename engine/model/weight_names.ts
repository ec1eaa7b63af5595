/** The weights of a decoder-only transformer: their names in files and their shapes. */

import type { ModelConfig } from "./config.ts";

/** The sizes that shapes are made of. */
export type WeightSize =
  | "vocab"
  | "dim"
  | "queries"
  | "keys"
  | "head"
  | "ffn"
  | "experts"
  | "expertFfn"
  | "ropePairs";

/** One weight: where files have it, how large it is, and which models have it. */
export interface WeightSpec {
  /** Name in GGUF; `{}` stands for the layer. */
  readonly gguf: string;
  /** Name in Hugging Face's checkpoints; GGUF alone has a weight without one. */
  readonly hf?: string;
  /** Outermost first: [rows, columns], [experts, rows, columns], or [elements] of a vector. */
  readonly shape: readonly WeightSize[];
  /** The config's field that says whether the model has it; always if absent. */
  readonly if?: "qkvBias" | "queryKeyNorm" | "ropeFactors" | "untiedOutput" | "dense" | "experts";
}

/** Weights that a model has once. Sources of the names: llama.cpp's llama-arch.cpp; transformers. */
export const MODEL_WEIGHTS = {
  embedding: {
    gguf: "token_embd.weight",
    hf: "model.embed_tokens.weight",
    shape: ["vocab", "dim"],
  },
  outputNorm: { gguf: "output_norm.weight", hf: "model.norm.weight", shape: ["dim"] },
  output: {
    gguf: "output.weight",
    hf: "lm_head.weight",
    shape: ["vocab", "dim"],
    if: "untiedOutput",
  },
  ropeFactors: { gguf: "rope_freqs.weight", shape: ["ropePairs"], if: "ropeFactors" },
} as const satisfies Record<string, WeightSpec>;

/** Weights that every layer has, in the order in which the forward pass uses them. */
export const LAYER_WEIGHTS = {
  attentionNorm: {
    gguf: "blk.{}.attn_norm.weight",
    hf: "model.layers.{}.input_layernorm.weight",
    shape: ["dim"],
  },
  query: {
    gguf: "blk.{}.attn_q.weight",
    hf: "model.layers.{}.self_attn.q_proj.weight",
    shape: ["queries", "dim"],
  },
  queryBias: {
    gguf: "blk.{}.attn_q.bias",
    hf: "model.layers.{}.self_attn.q_proj.bias",
    shape: ["queries"],
    if: "qkvBias",
  },
  key: {
    gguf: "blk.{}.attn_k.weight",
    hf: "model.layers.{}.self_attn.k_proj.weight",
    shape: ["keys", "dim"],
  },
  keyBias: {
    gguf: "blk.{}.attn_k.bias",
    hf: "model.layers.{}.self_attn.k_proj.bias",
    shape: ["keys"],
    if: "qkvBias",
  },
  value: {
    gguf: "blk.{}.attn_v.weight",
    hf: "model.layers.{}.self_attn.v_proj.weight",
    shape: ["keys", "dim"],
  },
  valueBias: {
    gguf: "blk.{}.attn_v.bias",
    hf: "model.layers.{}.self_attn.v_proj.bias",
    shape: ["keys"],
    if: "qkvBias",
  },
  queryNorm: {
    gguf: "blk.{}.attn_q_norm.weight",
    hf: "model.layers.{}.self_attn.q_norm.weight",
    shape: ["head"],
    if: "queryKeyNorm",
  },
  keyNorm: {
    gguf: "blk.{}.attn_k_norm.weight",
    hf: "model.layers.{}.self_attn.k_norm.weight",
    shape: ["head"],
    if: "queryKeyNorm",
  },
  attentionOutput: {
    gguf: "blk.{}.attn_output.weight",
    hf: "model.layers.{}.self_attn.o_proj.weight",
    shape: ["dim", "queries"],
  },
  ffnNorm: {
    gguf: "blk.{}.ffn_norm.weight",
    hf: "model.layers.{}.post_attention_layernorm.weight",
    shape: ["dim"],
  },
  gate: {
    gguf: "blk.{}.ffn_gate.weight",
    hf: "model.layers.{}.mlp.gate_proj.weight",
    shape: ["ffn", "dim"],
    if: "dense",
  },
  up: {
    gguf: "blk.{}.ffn_up.weight",
    hf: "model.layers.{}.mlp.up_proj.weight",
    shape: ["ffn", "dim"],
    if: "dense",
  },
  down: {
    gguf: "blk.{}.ffn_down.weight",
    hf: "model.layers.{}.mlp.down_proj.weight",
    shape: ["dim", "ffn"],
    if: "dense",
  },
  router: {
    gguf: "blk.{}.ffn_gate_inp.weight",
    hf: "model.layers.{}.mlp.gate.weight",
    shape: ["experts", "dim"],
    if: "experts",
  },
  expertGates: {
    gguf: "blk.{}.ffn_gate_exps.weight",
    hf: "model.layers.{}.mlp.experts.gate_proj.weight",
    shape: ["experts", "expertFfn", "dim"],
    if: "experts",
  },
  expertUps: {
    gguf: "blk.{}.ffn_up_exps.weight",
    hf: "model.layers.{}.mlp.experts.up_proj.weight",
    shape: ["experts", "expertFfn", "dim"],
    if: "experts",
  },
  expertDowns: {
    gguf: "blk.{}.ffn_down_exps.weight",
    hf: "model.layers.{}.mlp.experts.down_proj.weight",
    shape: ["experts", "dim", "expertFfn"],
    if: "experts",
  },
} as const satisfies Record<string, WeightSpec>;

/** What the weights are called in the engine. */
export type ModelWeight = keyof typeof MODEL_WEIGHTS;
export type LayerWeight = keyof typeof LAYER_WEIGHTS;

/** A weight that a model must have. */
export interface ExpectedWeight {
  /** Name in GGUF. */
  readonly name: string;
  /** Name in Hugging Face's checkpoints; of experts, which are apart there, see expert_tensors.ts. */
  readonly hf: string;
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

/** Every weight that a model of `config` has. */
export function* expectedWeights(config: ModelConfig): Generator<ExpectedWeight> {
  const weights = (specs: Readonly<Record<string, WeightSpec>>, layer = "") =>
    Object.values(specs).filter((spec) => present(spec, config)).map((spec) => ({
      name: spec.gguf.replace("{}", layer),
      hf: (spec.hf ?? spec.gguf).replace("{}", layer),
      shape: shapeOf(spec, config),
    }));
  yield* weights(MODEL_WEIGHTS);
  for (let layer = 0; layer < config.layers; layer++) {
    yield* weights(LAYER_WEIGHTS, String(layer));
  }
}

function present(spec: WeightSpec, config: ModelConfig): boolean {
  switch (spec.if) {
    case undefined:
      return true;
    case "untiedOutput":
      return !config.tiedOutput;
    case "dense":
      return config.experts === undefined;
    case "experts":
      return config.experts !== undefined;
    default:
      return config[spec.if];
  }
}

function shapeOf(spec: WeightSpec, config: ModelConfig): number[] {
  const sizes: Record<WeightSize, number> = {
    vocab: config.vocabSize,
    dim: config.dim,
    queries: config.heads * config.headDim,
    keys: config.kvHeads * config.headDim,
    head: config.headDim,
    ffn: config.ffnDim,
    experts: config.experts?.count ?? 0,
    expertFfn: config.experts?.ffnDim ?? 0,
    ropePairs: config.ropeDims / 2,
  };
  return spec.shape.map((size) => sizes[size]);
}
