/** Builds models with random weights as Hugging Face stores them: safetensors with text files. */

import type { SafetensorsData } from "../files/safetensors_writer.ts";
import { architectureOf, configOf } from "../model/architectures/mod.ts";
import { storedWeights } from "../model/fused_tensors.ts";
import { syntheticVocabulary } from "./metadata.ts";
import { syntheticHyperparameters, syntheticPre } from "./models.ts";
import { LLAMA32_SCALING } from "./rope_scaling.ts";
import { isMlx, mlxConfig, type MlxFormat, mlxTensors } from "./mlx.ts";
import { syntheticTexts } from "./texts.ts";
import { checkpointTensors, staysF32 } from "./weights.ts";

/** Types of the matrices. Vectors and routers stay F32, as in GGUF. */
export const DIRECTORY_FORMATS = ["BF16", "F16", "F32"] as const;
export type DirectoryFormat = typeof DIRECTORY_FORMATS[number];
export { MLX_FORMATS, type MlxFormat } from "./mlx.ts";

/** The contents of a model directory. */
export interface SyntheticDirectory {
  /** The text files, by name. */
  readonly texts: Readonly<Record<string, string>>;
  readonly tensors: readonly SafetensorsData[];
}

/**
 * Describes a model directory. The weights are the ones of `syntheticModel` with the same type and
 * seed, except in MLX's formats.
 *
 * @param options.preTokenizer returns the rule for a value of `tokenizer.ggml.pre`
 * @throws {RangeError} for a name that is not one of `syntheticModelNames()`.
 */
export function syntheticDirectory(
  name: string,
  { format, seed, preTokenizer }: {
    readonly format: DirectoryFormat | MlxFormat;
    readonly seed: number;
    readonly preTokenizer: (name: string) => object;
  },
): SyntheticDirectory {
  const gguf = syntheticHyperparameters(name);
  const { rope, headDim } = gguf;
  const architecture = architectureOf(gguf);
  const h = {
    ...gguf,
    rope: {
      ...rope,
      layout: "half",
      factors: false,
      scaling: rope.factors ? LLAMA32_SCALING : rope.scaling,
    },
    ...(gguf.deltaNet && { deltaNet: { ...gguf.deltaNet, tiled: false } }),
  } as const;
  const tensors = storedWeights(configOf(h)).flatMap((weight) => {
    const { gguf: name, hf, shape } = weight;
    const plain = staysF32(name, shape);
    if (!plain && isMlx(format)) return mlxTensors(weight, format, seed);
    const type = plain || isMlx(format) ? "F32" : format;
    const made = checkpointTensors(weight, { type, seed, architecture, mlx: isMlx(format) });
    const permuted = rope.layout === "interleaved" && /\.[qk]_proj\.(weight|bias)$/.test(hf);
    if (!permuted) return made;
    return made.map((tensor) => ({
      ...tensor,
      data: () => inHalves(tensor.data(), shape[0]!, headDim),
    }));
  });
  const rule = preTokenizer(syntheticPre(gguf));
  const packing = isMlx(format) ? mlxConfig(format) : {};
  return { texts: syntheticTexts(h, syntheticVocabulary(h.vocabSize), { rule, packing }), tensors };
}

/** Reorders rows of queries or keys for RoPE on halves: in each head, even rows, then odd ones. */
function inHalves(pieces: Iterable<Uint8Array>, rows: number, headDim: number): Uint8Array[] {
  const parts = [...pieces];
  const from = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    from.set(part, at);
    at += part.length;
  }
  const to = new Uint8Array(from.length);
  const rowBytes = from.length / rows;
  for (let row = 0; row < rows; row++) {
    const within = row % headDim;
    const target = row - within + (within >> 1) + (within & 1) * headDim / 2;
    to.set(from.subarray(row * rowBytes, (row + 1) * rowBytes), target * rowBytes);
  }
  return [to];
}
