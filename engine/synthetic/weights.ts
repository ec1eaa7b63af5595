/** Seeded random tensors that make a model whose activations stay sane. */

import type { GgufTensorData } from "../files/gguf_writer.ts";
import { RandomSource, randomWeights } from "../files/random_weights.ts";
import type { TensorType } from "../../kernels/tensor_types.ts";
import type { Architecture, StoredVector } from "../model/architectures/architecture.ts";
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
 * @param stored how a checkpoint stores the vector, if otherwise than GGUF
 */
export function syntheticTensor(
  { name, shape, type }: TensorSource,
  seed: number,
  stored?: StoredVector,
): GgufTensorData {
  if (shape.length === 3) return stacked({ name, shape, type }, seed);
  const count = shape.reduce((a, b) => a * b, 1);
  const gain = /^(token_embd|output)\./.test(name) ? 1.5 : 1;
  if (name.endsWith(".ssm_a")) return decays({ name, shape, type }, seed, stored);
  const [deviation, mean] = name.endsWith("norm.weight")
    ? [0.1, stored?.write(1) ?? 1] as const
    : name.endsWith("ssm_dt.bias")
    // So that states remember for tens of tokens.
    ? [1, -3] as const
    : name.endsWith(".ssm_d")
    ? [0.5, 1] as const
    // Next to the sigmoids of routers, it decides some choices.
    : name.endsWith(".exp_probs_b.bias")
    ? [0.1, 0] as const
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

/** The decays of a recurrent layer's heads, which are negative; a checkpoint may store logarithms. */
function decays({ name, shape, type }: TensorSource, seed: number, stored?: StoredVector) {
  const encode = (values: Float32Array) => {
    const bits = new Uint32Array(values.buffer);
    if (type === "F16") return new Uint8Array(new Float16Array(values).buffer);
    if (type === "BF16") return new Uint8Array(Uint16Array.from(bits, (b) => b >>> 16).buffer);
    return new Uint8Array(bits.buffer);
  };
  return {
    name,
    type,
    shape,
    *data() {
      const random = new RandomSource(seed, name);
      const values = Float32Array.from({ length: shape[0]! }, () => -4 * random.uniform() - 0.1);
      yield encode(stored ? values.map(stored.write) : values);
    },
  };
}

/** Whether a weight, by its name in GGUF, is F32 whatever the format: vectors, routers, convolutions. */
export function staysF32(name: string, shape: readonly number[]): boolean {
  return shape.length === 1 || name.includes(".ffn_gate_inp.") || name.includes(".ssm_conv1d.");
}

/**
 * The tensors that hold a weight in Hugging Face's checkpoints: one, or a matrix for each expert.
 * Their weights are those of `syntheticTensor`.
 *
 * @param options.mlx as mlx-lm saves it
 */
export function checkpointTensors<T extends TensorType>(
  { weight, gguf: name, hf, shape }: ExpectedWeight,
  { type, seed, architecture, mlx = false }: {
    readonly type: T;
    readonly seed: number;
    readonly architecture: Architecture;
    readonly mlx?: boolean;
  },
): (GgufTensorData & { readonly type: T })[] {
  const source = { name, shape, type };
  if (shape.length < 3) {
    const made = syntheticTensor(source, seed, architecture.hfVector?.(weight, mlx));
    return [{ ...made, name: hf, type, shape: checkpointShape(weight, shape, mlx) }];
  }
  if (architecture.hfFusedExperts && !mlx) return fused({ weight, hf }, source, seed);
  return experts(source, seed).map((tensor, i) => {
    return { ...tensor, name: hf.replace(".experts.", `.experts.${i}.`), type };
  });
}

/** The experts of a layer in one tensor: of the gates, with the ups below them, or of the downs. */
function fused<T extends TensorType>(
  { weight, hf }: Pick<ExpectedWeight, "weight" | "hf">,
  source: TensorSource & { readonly type: T },
  seed: number,
): (GgufTensorData & { readonly type: T })[] {
  const { name, type, shape } = source;
  const [count, rows, columns] = shape as [number, number, number];
  if (weight === "expertUps") return [];
  if (weight === "expertDowns") {
    return [{ ...stacked(source, seed), name: hf.replace(/\.weight$/, ""), type }];
  }
  const ups = experts({ ...source, name: name.replace("_gate_", "_up_") }, seed);
  return [{
    name: hf.replace(/gate_proj\.weight$/, "gate_up_proj"),
    type,
    shape: [count, 2 * rows, columns],
    *data() {
      for (const [i, gate] of experts(source, seed).entries()) {
        yield* gate.data();
        yield* ups[i]!.data();
      }
    },
  }];
}

/** Convolutions have a dimension of one group more, and the router of a shared expert one row. */
function checkpointShape(
  weight: ExpectedWeight["weight"],
  shape: readonly number[],
  mlx: boolean,
): readonly number[] {
  if (weight === "sharedRouter") return [1, ...shape];
  if (weight !== "convolution") return shape;
  const [channels, taps] = shape as [number, number];
  return mlx ? [channels, taps, 1] : [channels, 1, taps];
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
