/** Seeded random tensors that make a model whose activations stay sane. */

import type { GgufTensorData } from "../files/gguf_writer.ts";
import { RandomSource, randomWeights } from "../files/random_weights.ts";
import type { TensorType } from "../../kernels/tensor_types.ts";
import type { ExpectedWeight } from "../model/expected_weights.ts";

/** Weights made at a time: a multiple of every group, small enough to stay in a processor's cache. */
const PIECE_WEIGHTS = 2 ** 18;

/** What decides a tensor's weights, with a seed. */
export type TensorSource = Pick<GgufTensorData, "name" | "shape" | "type">;

/**
 * A tensor of random weights, made as it is written. Matrices keep activations near 1, and the
 * embedding is strong enough that some tokens are clearly likelier than others.
 *
 * @param source.name in GGUF; with `seed` it decides the weights
 * @param normOffset what weights of norms are less than 1 on average
 */
export function syntheticTensor(
  { name, shape, type }: TensorSource,
  seed: number,
  normOffset = 0,
): GgufTensorData {
  if (shape.length === 3) return stacked({ name, shape, type }, seed);
  const count = shape.reduce((a, b) => a * b, 1);
  const gain = /^(token_embd|output)\./.test(name) ? 1.5 : 1;
  const [deviation, mean] = name.endsWith("norm.weight")
    ? [0.1, 1 - normOffset] as const
    : name.endsWith(".bias")
    ? [0.5, 0] as const
    : [gain / Math.sqrt(shape.at(-1)!), 0] as const;
  return {
    name,
    type,
    shape,
    *data() {
      const random = new RandomSource(seed, name);
      for (let done = 0; done < count; done += PIECE_WEIGHTS) {
        const piece = Math.min(PIECE_WEIGHTS, count - done);
        yield randomWeights(type, piece, { random, deviation, mean });
      }
    },
  };
}

/** Whether a weight, by its name in GGUF, is F32 whatever the format: vectors and routers. */
export function staysF32(name: string, shape: readonly number[]): boolean {
  return shape.length === 1 || name.includes(".ffn_gate_inp.");
}

/**
 * The tensors that hold a weight in Hugging Face's checkpoints: one, or a matrix for each expert.
 * Their weights are those of `syntheticTensor`, of norms less `normOffset`.
 */
export function checkpointTensors<T extends TensorType>(
  { name, hf, shape }: ExpectedWeight,
  { type, seed, normOffset = 0 }: {
    readonly type: T;
    readonly seed: number;
    readonly normOffset?: number | undefined;
  },
): (GgufTensorData & { readonly type: T })[] {
  const source = { name, shape, type };
  if (shape.length < 3) return [{ ...syntheticTensor(source, seed, normOffset), name: hf, type }];
  return experts(source, seed).map((tensor, i) => {
    return { ...tensor, name: hf.replace(".experts.", `.experts.${i}.`), type };
  });
}

function experts({ name, shape, type }: TensorSource, seed: number): GgufTensorData[] {
  const [count, ...matrix] = shape;
  return Array.from({ length: count! }, (_, i) => {
    return syntheticTensor({ name: `${name}.${i}`, shape: matrix, type }, seed);
  });
}

function stacked(source: TensorSource, seed: number): GgufTensorData {
  return {
    ...source,
    *data() {
      for (const expert of experts(source, seed)) yield* expert.data();
    },
  };
}
