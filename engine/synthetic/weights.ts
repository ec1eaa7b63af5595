/** Seeded random tensors, scaled so that a model's activations stay in a reasonable range. */

import type { GgufTensorData } from "../files/gguf_writer.ts";
import { RandomSource, randomWeights } from "../files/random_weights.ts";
import type { TensorType } from "../../kernels/tensor_types.ts";
import type { Architecture, StoredVector } from "../model/architectures/architecture.ts";
import type { ExpectedWeight } from "../model/expected_weights.ts";

/** Weights generated at a time: a multiple of every block size that fits in a processor's cache. */
const PIECE_WEIGHTS = 2 ** 18;

/** The properties that determine a tensor's weights, together with a seed. */
export type TensorSource = Pick<GgufTensorData, "name" | "shape" | "type">;

/**
 * Returns a tensor of random weights, which are generated while it is written. Matrices keep
 * activations near 1. The embedding is large enough to make some tokens clearly likelier than
 * others.
 *
 * @param source.name the GGUF name, which together with `seed` determines the weights
 * @param stored the conversion of a vector that checkpoints and GGUF store differently
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
    // With these steps, states remember for tens of tokens.
    ? [1, -3] as const
    : name.endsWith(".ssm_d")
    ? [0.5, 1] as const
    // Added to the sigmoids of routers, it changes some choices of experts.
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

/** Returns the decays of a recurrent layer's heads: negative in GGUF, logarithms in checkpoints. */
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

/** Whether the weight with this GGUF name is always F32: vectors, routers and convolutions are. */
export function staysF32(name: string, shape: readonly number[]): boolean {
  return shape.length === 1 || name.includes(".ffn_gate_inp.") || name.includes(".ssm_conv1d.");
}

/**
 * Returns the tensors of a weight in Hugging Face's checkpoints: a single one, or a matrix for each
 * expert. They have the same weights as `syntheticTensor`.
 *
 * @param options.mlx whether the checkpoint has mlx-lm's form
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

/** Returns a tensor of all gates of a layer, each followed by its expert's up, or of all downs. */
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

/**
 * Returns the shape in a checkpoint. Convolutions have another dimension of size 1, and the router
 * of a shared expert is a matrix with one row.
 */
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
