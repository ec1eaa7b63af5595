/** Describes the scaling of RoPE in the files of synthetic models. */

import type { GgufTensorData, GgufValue } from "../files/gguf_writer.ts";
import { float, uint } from "../model/architectures/architecture.ts";
import { type RopeScaling, type RopeSpec, ropeTable } from "../model/rope.ts";
import { MODEL_WEIGHTS } from "../model/weight_names.ts";

/** The scaling of Llama 3.2, which its GGUF files store as a tensor of factors. */
export const LLAMA32_SCALING = {
  kind: "llama3",
  factor: 32,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalContext: 8192,
} as const;

/** Returns the keys of GGUF below `rope.scaling.`. */
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

/** Returns the tensors of GGUF whose factors divide RoPE's frequencies. */
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

/** Returns rope_scaling and related keys of config.json. */
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
