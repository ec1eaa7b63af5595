/** A model's weights in memory: matrices packed as the file has them, vectors as float32. */

import { ModelFormatError } from "../errors.ts";
import { assertFinite } from "../files/finite_weights.ts";
import type { ModelFile, TensorInfo } from "../files/model_file.ts";
import type { LayerSpec, ModelConfig } from "../model/config.ts";
import { ggufName, type LayerWeight, type ModelWeight } from "../model/weight_names.ts";
import { dequantize } from "../../kernels/dequantize.ts";
import type { PackedMatrix } from "../../kernels/reference.ts";

/** One layer; what a model may lack is undefined. */
export interface LayerWeights {
  readonly attentionNorm: Float32Array;
  readonly query: PackedMatrix;
  readonly queryBias: Float32Array | undefined;
  readonly key: PackedMatrix;
  readonly keyBias: Float32Array | undefined;
  readonly value: PackedMatrix;
  readonly valueBias: Float32Array | undefined;
  readonly queryNorm: Float32Array | undefined;
  readonly keyNorm: Float32Array | undefined;
  readonly attentionOutput: PackedMatrix;
  readonly attentionOutputBias: Float32Array | undefined;
  readonly attentionPostNorm: Float32Array | undefined;
  readonly ffnNorm: Float32Array;
  readonly feedForward: DenseWeights | ExpertWeights;
  readonly ffnPostNorm: Float32Array | undefined;
}

/** A layer's one feed-forward network. */
export interface DenseWeights {
  readonly gate: PackedMatrix;
  readonly gateBias: Float32Array | undefined;
  readonly up: PackedMatrix;
  readonly upBias: Float32Array | undefined;
  readonly down: PackedMatrix;
  readonly downBias: Float32Array | undefined;
}

/** A layer's routed experts; matrices by expert. */
export interface ExpertWeights {
  readonly router: PackedMatrix;
  readonly gates: readonly PackedMatrix[];
  readonly ups: readonly PackedMatrix[];
  readonly downs: readonly PackedMatrix[];
}

export interface ModelWeights {
  readonly embedding: PackedMatrix;
  readonly layers: readonly LayerWeights[];
  readonly outputNorm: Float32Array;
  /** The embedding where the two are tied. */
  readonly output: PackedMatrix;
  readonly ropeFactors: Float32Array | undefined;
}

/**
 * Reads all weights that `config` calls for.
 *
 * @throws {ModelFormatError} if the file lacks one or got shorter.
 */
export function loadWeights(file: ModelFile, config: ModelConfig): ModelWeights {
  const { tiedOutput } = config;
  const embedding = readMatrix(file, ggufName("embedding"));
  const layer = ({ mixer, feedForward, postNorms }: LayerSpec, i: number): LayerWeights => {
    const { bias, headNorm, outputBias } = mixer;
    const matrix = (weight: LayerWeight) => readMatrix(file, ggufName(weight, i));
    const stack = (weight: LayerWeight) => readStack(file, ggufName(weight, i));
    const vector = (weight: LayerWeight) => readVector(file, ggufName(weight, i));
    return {
      attentionNorm: vector("attentionNorm"),
      query: matrix("query"),
      queryBias: bias ? vector("queryBias") : undefined,
      key: matrix("key"),
      keyBias: bias ? vector("keyBias") : undefined,
      value: matrix("value"),
      valueBias: bias ? vector("valueBias") : undefined,
      queryNorm: headNorm ? vector("queryNorm") : undefined,
      keyNorm: headNorm ? vector("keyNorm") : undefined,
      attentionOutput: matrix("attentionOutput"),
      attentionOutputBias: outputBias ? vector("attentionOutputBias") : undefined,
      attentionPostNorm: postNorms ? vector("attentionPostNorm") : undefined,
      ffnNorm: vector("ffnNorm"),
      feedForward: feedForward.kind === "experts"
        ? {
          router: matrix("router"),
          gates: stack("expertGates"),
          ups: stack("expertUps"),
          downs: stack("expertDowns"),
        }
        : {
          gate: matrix("gate"),
          gateBias: feedForward.bias ? vector("gateBias") : undefined,
          up: matrix("up"),
          upBias: feedForward.bias ? vector("upBias") : undefined,
          down: matrix("down"),
          downBias: feedForward.bias ? vector("downBias") : undefined,
        },
      ffnPostNorm: postNorms ? vector("ffnPostNorm") : undefined,
    };
  };
  const once = (weight: ModelWeight) => readVector(file, ggufName(weight));
  return {
    embedding,
    layers: config.layers.map(layer),
    outputNorm: once("outputNorm"),
    output: tiedOutput ? embedding : readMatrix(file, ggufName("output")),
    ropeFactors: config.layers.some(({ mixer }) => mixer.rope.factors)
      ? once("ropeFactors")
      : undefined,
  };
}

function readMatrix(file: ModelFile, name: string): PackedMatrix {
  const tensor = find(file, name);
  const [rows, cols] = tensor.shape as [number, number];
  return { type: tensor.type, rows, cols, bytes: readBytes(file, tensor) };
}

function readStack(file: ModelFile, name: string): PackedMatrix[] {
  const tensor = find(file, name);
  const [count, rows, cols] = tensor.shape as [number, number, number];
  const all = readBytes(file, tensor);
  const size = all.length / count;
  return Array.from({ length: count }, (_, i) => {
    const bytes = all.subarray(i * size, (i + 1) * size);
    return { type: tensor.type, rows, cols, bytes };
  });
}

function readVector(file: ModelFile, name: string): Float32Array {
  const tensor = find(file, name);
  const vector = new Float32Array(tensor.shape[0]!);
  dequantize(tensor.type, readBytes(file, tensor), vector);
  return vector;
}

function readBytes(file: ModelFile, tensor: TensorInfo): Uint8Array {
  const bytes = new Uint8Array(tensor.byteLength);
  file.read(tensor, 0, bytes);
  assertFinite(file, tensor, { bytes });
  return bytes;
}

function find(file: ModelFile, name: string): TensorInfo {
  const tensor = file.tensors.get(name);
  if (tensor === undefined) {
    throw new ModelFormatError(`Cannot load ${file.paths[0]}: tensor '${name}' is missing`);
  }
  return tensor;
}
