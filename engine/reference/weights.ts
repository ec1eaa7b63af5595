/** A model's weights in memory: matrices packed as they are in the file, vectors as float32. */

import { ModelFormatError } from "../errors.ts";
import { assertFinite } from "../files/finite_weights.ts";
import type { ModelFile, TensorInfo } from "../files/model_file.ts";
import type {
  AttentionSpec,
  FeedForwardSpec,
  LayerSpec,
  ModelConfig,
  RecurrentSpec,
} from "../model/config.ts";
import { attentionsOf, isRecurrent } from "../model/mixers.ts";
import { ggufName, type LayerWeight, type ModelWeight } from "../model/weight_names.ts";
import { dequantize } from "../../kernels/dequantize.ts";
import type { PackedMatrix } from "../../kernels/reference.ts";

/** The weights of one layer. Weights that the layer does not have are undefined. */
export interface LayerWeights {
  readonly attentionNorm: Float32Array | undefined;
  readonly mixer: AttentionWeights | RecurrentWeights | undefined;
  readonly attentionPostNorm: Float32Array | undefined;
  readonly ffnNorm: Float32Array | undefined;
  readonly feedForward: DenseWeights | ExpertWeights | undefined;
  readonly ffnPostNorm: Float32Array | undefined;
}

export interface AttentionWeights {
  readonly query: PackedMatrix;
  readonly queryGate: PackedMatrix | undefined;
  readonly queryBias: Float32Array | undefined;
  readonly key: PackedMatrix;
  readonly keyBias: Float32Array | undefined;
  readonly value: PackedMatrix;
  readonly valueBias: Float32Array | undefined;
  readonly queryNorm: Float32Array | undefined;
  readonly keyNorm: Float32Array | undefined;
  readonly output: PackedMatrix;
  readonly outputBias: Float32Array | undefined;
}

export interface RecurrentWeights {
  readonly inputs: PackedMatrix;
  readonly gate: PackedMatrix;
  readonly step: PackedMatrix;
  readonly stepBias: Float32Array;
  readonly decay: Float32Array;
  /** Only in delta nets. */
  readonly strength: PackedMatrix | undefined;
  /** Only in Mamba. */
  readonly skip: Float32Array | undefined;
  /** [channels, taps]; the tap of the current token is last. */
  readonly convolution: Float32Array;
  readonly convolutionBias: Float32Array | undefined;
  readonly norm: Float32Array;
  readonly output: PackedMatrix;
}

/** The weights of a layer's dense feed-forward network. */
export interface DenseWeights {
  readonly gate: PackedMatrix | undefined;
  readonly gateBias: Float32Array | undefined;
  readonly up: PackedMatrix;
  readonly upBias: Float32Array | undefined;
  readonly down: PackedMatrix;
  readonly downBias: Float32Array | undefined;
}

/** The weights of a layer's experts. Lists of matrices are indexed by expert. */
export interface ExpertWeights {
  readonly router: PackedMatrix;
  readonly routerBias: Float32Array | undefined;
  readonly gates: readonly PackedMatrix[] | undefined;
  readonly ups: readonly PackedMatrix[];
  readonly downs: readonly PackedMatrix[];
  readonly shared: SharedWeights | undefined;
}

/** The expert that every token uses. Without a router, its weight is 1. */
type SharedWeights = Pick<DenseWeights, "gate" | "up" | "down"> & {
  readonly router: Float32Array | undefined;
};

export interface ModelWeights {
  readonly embedding: PackedMatrix;
  readonly layers: readonly LayerWeights[];
  readonly outputNorm: Float32Array;
  /** The embedding, if the two are tied. */
  readonly output: PackedMatrix;
  readonly ropeFactors: Float32Array | undefined;
}

/**
 * Reads all weights that `config` requires.
 *
 * @throws {ModelFormatError} if the file lacks one or was truncated.
 */
export function loadWeights(file: ModelFile, config: ModelConfig): ModelWeights {
  const { tiedOutput } = config;
  const embedding = readMatrix(file, ggufName("embedding"));
  const layer = ({ mixer, feedForward, postNorms }: LayerSpec, i: number): LayerWeights => {
    const read: LayerReader = {
      matrix: (weight) => readMatrix(file, ggufName(weight, i)),
      stack: (weight) => readStack(file, ggufName(weight, i)),
      vector: (weight) => readVector(file, ggufName(weight, i)),
    };
    return {
      attentionNorm: mixer && read.vector("attentionNorm"),
      mixer: mixer && mixerWeights(mixer, read),
      attentionPostNorm: mixer && postNorms ? read.vector("attentionPostNorm") : undefined,
      ffnNorm: feedForward && read.vector("ffnNorm"),
      feedForward: feedForward && feedForwardWeights(feedForward, read),
      ffnPostNorm: feedForward && postNorms ? read.vector("ffnPostNorm") : undefined,
    };
  };
  const once = (weight: ModelWeight) => readVector(file, ggufName(weight));
  return {
    embedding,
    layers: config.layers.map(layer),
    outputNorm: once("outputNorm"),
    output: tiedOutput ? embedding : readMatrix(file, ggufName("output")),
    ropeFactors: attentionsOf(config.layers).some(({ rope }) => rope.factors)
      ? once("ropeFactors")
      : undefined,
  };
}

/** Reads weights of one layer. */
interface LayerReader {
  readonly matrix: (weight: LayerWeight) => PackedMatrix;
  readonly stack: (weight: LayerWeight) => PackedMatrix[];
  readonly vector: (weight: LayerWeight) => Float32Array;
}

function mixerWeights(
  mixer: NonNullable<LayerSpec["mixer"]>,
  read: LayerReader,
): AttentionWeights | RecurrentWeights {
  return isRecurrent(mixer) ? recurrentWeights(mixer, read) : attentionWeights(mixer, read);
}

function attentionWeights(
  { bias, headNorm, gated, outputBias }: AttentionSpec,
  { matrix, vector }: LayerReader,
): AttentionWeights {
  return {
    query: matrix("query"),
    queryGate: gated ? matrix("queryGate") : undefined,
    queryBias: bias ? vector("queryBias") : undefined,
    key: matrix("key"),
    keyBias: bias ? vector("keyBias") : undefined,
    value: matrix("value"),
    valueBias: bias ? vector("valueBias") : undefined,
    queryNorm: headNorm ? vector("queryNorm") : undefined,
    keyNorm: headNorm ? vector("keyNorm") : undefined,
    output: matrix("attentionOutput"),
    outputBias: outputBias ? vector("attentionOutputBias") : undefined,
  };
}

function recurrentWeights(
  mixer: RecurrentSpec,
  { matrix, vector }: LayerReader,
): RecurrentWeights {
  const isMamba = mixer.kind === "mamba";
  return {
    inputs: matrix("recurrentInputs"),
    gate: matrix("recurrentGate"),
    step: matrix("recurrentStep"),
    stepBias: vector("recurrentStepBias"),
    decay: vector("recurrentDecay"),
    strength: isMamba ? undefined : matrix("deltaStrength"),
    skip: isMamba ? vector("mambaSkip") : undefined,
    convolution: vector("convolution"),
    convolutionBias: isMamba && mixer.convolutionBias ? vector("convolutionBias") : undefined,
    norm: vector("recurrentNorm"),
    output: matrix("recurrentOutput"),
  };
}

function feedForwardWeights(
  spec: FeedForwardSpec,
  { matrix, stack, vector }: LayerReader,
): DenseWeights | ExpertWeights {
  const { gateless = false } = spec;
  if (spec.kind === "dense") {
    return {
      gate: gateless ? undefined : matrix("gate"),
      gateBias: spec.bias && !gateless ? vector("gateBias") : undefined,
      up: matrix("up"),
      upBias: spec.bias ? vector("upBias") : undefined,
      down: matrix("down"),
      downBias: spec.bias ? vector("downBias") : undefined,
    };
  }
  return {
    router: matrix("router"),
    routerBias: spec.sigmoid && vector("routerBias"),
    gates: gateless ? undefined : stack("expertGates"),
    ups: stack("expertUps"),
    downs: stack("expertDowns"),
    shared: spec.shared && {
      router: spec.shared.always ? undefined : vector("sharedRouter"),
      gate: gateless ? undefined : matrix("sharedGate"),
      up: matrix("sharedUp"),
      down: matrix("sharedDown"),
    },
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
  const vector = new Float32Array(tensor.shape.reduce((a, b) => a * b));
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
