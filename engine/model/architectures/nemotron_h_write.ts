/** Metadata for the files of synthetic Nemotron-H models. */

import type { GgufValue } from "../../files/gguf_writer.ts";
import type { Hyperparameters, LayerKind } from "../hyperparameters.ts";
import { float, uint } from "./architecture.ts";
import { LETTERS, PATTERN } from "./nemotron_h_read.ts";

/** Returns the keys of GGUF, without the architecture's prefix. */
export function nemotronGguf(h: Hyperparameters): Readonly<Record<string, GgufValue>> {
  const { keyHeads, valueHeads, keyDim, valueDim, taps } = h.mamba!;
  const { experts } = h;
  const where = (some: (kind: LayerKind) => boolean, size: number): GgufValue => ({
    ...{ type: "array", of: "int32", value: h.kinds!.map((kind) => some(kind) ? size : 0) },
  });
  return {
    "attention.head_count_kv": where((kind) => kind === "attention", h.kvHeads),
    "feed_forward_length": where(
      (kind) => kind === "dense" || kind === "experts",
      experts?.width ?? h.ffnDim,
    ),
    "attention.layer_norm_epsilon": float(h.rmsEpsilon),
    "ssm.conv_kernel": uint(taps),
    "ssm.state_size": uint(keyDim),
    "ssm.group_count": uint(keyHeads),
    "ssm.time_step_rank": uint(valueHeads),
    "ssm.inner_size": uint(valueHeads * valueDim),
    ...(experts && {
      "expert_count": uint(experts.count),
      "expert_used_count": uint(experts.used),
      "expert_feed_forward_length": uint(experts.width),
      "expert_shared_count": uint(1),
      "expert_shared_feed_forward_length": uint(experts.shared!.width),
      "expert_weights_norm": { type: "bool", value: experts.normalized },
      "expert_weights_scale": float(experts.sigmoid!.scale),
      "expert_group_count": uint(1),
    }),
  };
}

/** Returns the keys of config.json. */
export function nemotronJson(h: Hyperparameters): Readonly<Record<string, unknown>> {
  const { keyHeads, valueHeads, keyDim, valueDim, taps, convolutionBias } = h.mamba!;
  const { experts } = h;
  return {
    hidden_act: undefined,
    rms_norm_eps: undefined,
    rope_theta: undefined,
    head_dim: h.headDim,
    [PATTERN]: h.kinds!.map((kind) => LETTERS[kind]).join(""),
    layer_norm_epsilon: h.rmsEpsilon,
    mlp_hidden_act: "relu2",
    mlp_bias: false,
    attention_bias: false,
    use_bias: false,
    mamba_num_heads: valueHeads,
    mamba_head_dim: valueDim,
    mamba_hidden_act: "silu",
    mamba_proj_bias: false,
    n_groups: keyHeads,
    ssm_state_size: keyDim,
    conv_kernel: taps,
    use_conv_bias: convolutionBias,
    ...(experts && {
      n_routed_experts: experts.count,
      num_experts_per_tok: experts.used,
      moe_intermediate_size: experts.width,
      n_shared_experts: 1,
      moe_shared_expert_intermediate_size: experts.shared!.width,
      norm_topk_prob: experts.normalized,
      routed_scaling_factor: experts.sigmoid!.scale,
      n_group: 1,
      topk_group: 1,
    }),
  };
}
