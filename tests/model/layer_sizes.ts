/** A tiny llama whose second layer has fewer heads and a narrower feed-forward network. */

import { syntheticTensor } from "../../engine/synthetic/weights.ts";
import { ggufBytes, SEED, tinyParts } from "../../fixtures/tiny_models.ts";

const listed = (value: readonly number[]) => ({ type: "array", of: "uint32", value } as const);

/** Returns the bytes of its GGUF file. `changes` replaces some of the arrays of sizes. */
export function unevenModel(changes: Readonly<Record<string, readonly number[]>> = {}): Uint8Array {
  const parts = tinyParts("llama", "F32");
  const sizes = {
    "attention.head_count": [6, 4],
    "attention.head_count_kv": [2, 1],
    "feed_forward_length": [160, 96],
    ...changes,
  };
  for (const [key, value] of Object.entries(sizes)) {
    parts.metadata.set(`llama.${key}`, listed(value));
  }
  const shapes: Readonly<Record<string, readonly number[]>> = {
    attn_q: [64, 96],
    attn_k: [16, 96],
    attn_v: [16, 96],
    attn_output: [96, 64],
    ffn_gate: [96, 96],
    ffn_up: [96, 96],
    ffn_down: [96, 96],
  };
  for (const [name, shape] of Object.entries(shapes)) {
    const full = `blk.1.${name}.weight`;
    const at = parts.tensors.findIndex((tensor) => tensor.name === full);
    parts.tensors[at] = syntheticTensor({ name: full, shape, type: "F32" }, SEED);
  }
  return ggufBytes(parts);
}
