/** Names of the weights of decoder-only models, in the engine and in files. */

/** Names in files; `{}` stands for the layer. */
export interface WeightName {
  /** In GGUF. */
  readonly gguf: string;
  /** In Hugging Face's checkpoints; absent if only GGUF files have the weight. */
  readonly hf?: string;
}

/** Weights outside the layers. Sources of the names: llama.cpp's llama-arch.cpp; transformers. */
export const MODEL_WEIGHTS = {
  embedding: { gguf: "token_embd.weight", hf: "model.embed_tokens.weight" },
  outputNorm: { gguf: "output_norm.weight", hf: "model.norm.weight" },
  output: { gguf: "output.weight", hf: "lm_head.weight" },
  ropeFactors: { gguf: "rope_freqs.weight" },
} as const satisfies Record<string, WeightName>;

const attention = (gguf: string, hf: string) =>
  ({ gguf: `blk.{}.attn_${gguf}`, hf: `model.layers.{}.self_attn.${hf}` }) as const;
const feedForward = (gguf: string, hf: string) =>
  ({ gguf: `blk.{}.ffn_${gguf}`, hf: `model.layers.{}.mlp.${hf}` }) as const;
const deltaNet = (gguf: string, hf: string) =>
  ({ gguf: `blk.{}.${gguf}`, hf: `model.layers.{}.linear_attn.${hf}` }) as const;

/** Weights of a layer. `expectedWeights` determines which of them a layer has. */
export const LAYER_WEIGHTS = {
  attentionNorm: {
    gguf: "blk.{}.attn_norm.weight",
    hf: "model.layers.{}.input_layernorm.weight",
  },
  query: attention("q.weight", "q_proj.weight"),
  // In files its rows alternate with those of the queries: see fused_tensors.ts.
  queryGate: attention("q_gate.weight", "q_gate_proj.weight"),
  queryBias: attention("q.bias", "q_proj.bias"),
  key: attention("k.weight", "k_proj.weight"),
  keyBias: attention("k.bias", "k_proj.bias"),
  value: attention("v.weight", "v_proj.weight"),
  valueBias: attention("v.bias", "v_proj.bias"),
  queryNorm: attention("q_norm.weight", "q_norm.weight"),
  keyNorm: attention("k_norm.weight", "k_norm.weight"),
  attentionOutput: attention("output.weight", "o_proj.weight"),
  attentionOutputBias: attention("output.bias", "o_proj.bias"),
  attentionPostNorm: {
    gguf: "blk.{}.post_attention_norm.weight",
    hf: "model.layers.{}.post_attention_layernorm.weight",
  },
  // For Mamba, files store the first three in one matrix: see fused_tensors.ts.
  recurrentInputs: deltaNet("attn_qkv.weight", "in_proj_qkv.weight"),
  recurrentGate: deltaNet("attn_gate.weight", "in_proj_z.weight"),
  recurrentStep: deltaNet("ssm_alpha.weight", "in_proj_a.weight"),
  recurrentStepBias: deltaNet("ssm_dt.bias", "dt_bias"),
  recurrentDecay: deltaNet("ssm_a", "A_log"),
  deltaStrength: deltaNet("ssm_beta.weight", "in_proj_b.weight"),
  mambaSkip: deltaNet("ssm_d", "D"),
  convolution: deltaNet("ssm_conv1d.weight", "conv1d.weight"),
  convolutionBias: deltaNet("ssm_conv1d.bias", "conv1d.bias"),
  recurrentNorm: deltaNet("ssm_norm.weight", "norm.weight"),
  recurrentOutput: deltaNet("ssm_out.weight", "out_proj.weight"),
  ffnNorm: {
    gguf: "blk.{}.ffn_norm.weight",
    hf: "model.layers.{}.post_attention_layernorm.weight",
  },
  gate: feedForward("gate.weight", "gate_proj.weight"),
  gateBias: feedForward("gate.bias", "gate_proj.bias"),
  up: feedForward("up.weight", "up_proj.weight"),
  upBias: feedForward("up.bias", "up_proj.bias"),
  down: feedForward("down.weight", "down_proj.weight"),
  downBias: feedForward("down.bias", "down_proj.bias"),
  router: feedForward("gate_inp.weight", "gate.weight"),
  routerBias: {
    gguf: "blk.{}.exp_probs_b.bias",
    hf: "model.layers.{}.mlp.gate.e_score_correction_bias",
  },
  expertGates: feedForward("gate_exps.weight", "experts.gate_proj.weight"),
  expertUps: feedForward("up_exps.weight", "experts.up_proj.weight"),
  expertDowns: feedForward("down_exps.weight", "experts.down_proj.weight"),
  sharedRouter: feedForward("gate_inp_shexp.weight", "shared_expert_gate.weight"),
  sharedGate: feedForward("gate_shexp.weight", "shared_expert.gate_proj.weight"),
  sharedUp: feedForward("up_shexp.weight", "shared_expert.up_proj.weight"),
  sharedDown: feedForward("down_shexp.weight", "shared_expert.down_proj.weight"),
  ffnPostNorm: {
    gguf: "blk.{}.post_ffw_norm.weight",
    hf: "model.layers.{}.post_feedforward_layernorm.weight",
  },
} as const satisfies Record<string, WeightName>;

/** Names of the weights in the engine. */
export type ModelWeight = keyof typeof MODEL_WEIGHTS;
export type LayerWeight = keyof typeof LAYER_WEIGHTS;

/** Returns the GGUF name of a weight of the model, or of the given layer. */
export function ggufName(weight: ModelWeight): string;
export function ggufName(weight: LayerWeight, layer: number): string;
export function ggufName(weight: ModelWeight | LayerWeight, layer?: number): string {
  return layer === undefined
    ? MODEL_WEIGHTS[weight as ModelWeight].gguf
    : LAYER_WEIGHTS[weight as LayerWeight].gguf.replace("{}", String(layer));
}
