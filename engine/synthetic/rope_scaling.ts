/** How made models' files state that RoPE's frequencies are scaled. */

import type { GgufTensorData, GgufValue } from "../files/gguf_writer.ts";
import { float, uint } from "../model/architectures/architecture.ts";
import { type RopeScaling, type RopeSpec, ropeTable } from "../model/rope.ts";
import { MODEL_WEIGHTS } from "../model/weight_names.ts";

/** Llama 3.2's, which its GGUF files state as a tensor of factors. */
export const LLAMA32_SCALING = {
  kind: "llama3",
  factor: 32,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalContext: 8192,
} as const;

/** Keys of GGUF below `rope.scaling.`. */
export function scalingMetadata(scaling: RopeScaling): Readonly<Record<string, GgufValue>> {
  switch (scaling.kind) {
    case "yarn":
      return {
        type: { type: "string", value: scaling.kind },
        factor: float(scaling.factor),
        original_context_length: uint(scaling.originalContext),
        yarn_beta_fast: float(scaling.betaFast),
        yarn_beta_slow: float(scaling.betaSlow),
      };
    case "longrope":
      return {
        type: { type: "string", value: scaling.kind },
        original_context_length: uint(scaling.originalContext),
        attn_factor: float(scaling.attentionFactor),
      };
    default:
      return {};
  }
}

/** Tensors of GGUF that divide RoPE's frequencies. */
export function factorTensors({ scaling, factors, ...rope }: RopeSpec): GgufTensorData[] {
  const vector = (name: string, values: Iterable<number>): GgufTensorData => {
    const data = Float32Array.from(values);
    return { name, type: "F32", shape: [data.length], data: () => [new Uint8Array(data.buffer)] };
  };
  if (scaling.kind === "longrope") {
    return [
      vector("rope_factors_long.weight", scaling.long),
      vector("rope_factors_short.weight", scaling.short),
    ];
  }
  if (!factors) return [];
  const plain = ropeTable({ ...rope, scaling }).frequencies;
  const scaled = ropeTable({ ...rope, scaling: LLAMA32_SCALING }).frequencies;
  const name = MODEL_WEIGHTS.ropeFactors.gguf;
  return [vector(name, plain.map((frequency, i) => frequency / scaled[i]!))];
}

/** The same in config.json: what is in rope_scaling, and what is beside it. */
export function scalingJson(scaling: RopeScaling): Record<string, unknown> {
  switch (scaling.kind) {
    case "llama3":
      return {
        rope_scaling: {
          rope_type: scaling.kind,
          factor: scaling.factor,
          low_freq_factor: scaling.lowFrequencyFactor,
          high_freq_factor: scaling.highFrequencyFactor,
          original_max_position_embeddings: scaling.originalContext,
        },
      };
    case "longrope":
      return {
        original_max_position_embeddings: scaling.originalContext,
        rope_scaling: {
          type: scaling.kind,
          short_factor: scaling.short,
          long_factor: scaling.long,
        },
      };
    default:
      return { rope_scaling: null };
  }
}
