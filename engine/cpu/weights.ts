/** A model's weights in the shared memory: matrices in strips, vectors as float32. */

import type { TensorType } from "../../kernels/tensor_types.ts";
import { matrixBytes, stripLayout, WASM_FORMATS } from "../../kernels/wasm/formats.ts";
import { ModelFormatError } from "../errors.ts";
import type { ModelFile, TensorInfo } from "../files/model_file.ts";
import type {
  AttentionSpec,
  DenseSpec,
  ExpertsSpec,
  LayerSpec,
  ModelConfig,
  RecurrentSpec,
} from "../model/config.ts";
import { attentionsOf, isRecurrent } from "../model/mixers.ts";
import { ggufName, type LayerWeight, type ModelWeight } from "../model/weight_names.ts";
import { type Pending, readVector, vectorLength, WeightLoader } from "./load_weights.ts";
import type { Matrix } from "./matrix.ts";
import type { Layout } from "./memory.ts";

/** The weights of one layer. Vectors are addresses, or 0 if the layer does not have them. */
export interface LayerWeights {
  readonly attentionNorm: number;
  readonly mixer: AttentionWeights | RecurrentWeights | undefined;
  readonly attentionPostNorm: number;
  readonly ffnNorm: number;
  readonly feedForward: DenseWeights | ExpertWeights | undefined;
  readonly ffnPostNorm: number;
}

export interface AttentionWeights {
  readonly query: Matrix;
  readonly queryGate: Matrix | undefined;
  readonly queryBias: number;
  readonly key: Matrix;
  readonly keyBias: number;
  readonly value: Matrix;
  readonly valueBias: number;
  readonly queryNorm: number;
  readonly keyNorm: number;
  readonly output: Matrix;
  readonly outputBias: number;
}

export interface RecurrentWeights {
  readonly inputs: Matrix;
  readonly gate: Matrix;
  readonly step: Matrix;
  readonly stepBias: number;
  readonly decay: number;
  /** Only in delta nets. */
  readonly strength: Matrix | undefined;
  /** Only in Mamba. */
  readonly skip: number;
  /** [taps, channels]. */
  readonly convolution: number;
  readonly convolutionBias: number;
  readonly norm: number;
  readonly output: Matrix;
}

export interface DenseWeights {
  readonly gate: Matrix | undefined;
  readonly gateBias: number;
  readonly up: Matrix;
  readonly upBias: number;
  readonly down: Matrix;
  readonly downBias: number;
}

/** The weights of a layer's experts. Lists of matrices are indexed by expert. */
export interface ExpertWeights {
  readonly router: Matrix;
  /** [experts] or undefined. */
  readonly routerBias: Float32Array | undefined;
  readonly gates: readonly Matrix[] | undefined;
  readonly ups: readonly Matrix[];
  readonly downs: readonly Matrix[];
  readonly shared: SharedWeights | undefined;
}

/** The expert that every token uses. If `router` is 0, its weight is 1. */
type SharedWeights = Pick<DenseWeights, "gate" | "up" | "down"> & { readonly router: number };

export interface ModelWeights {
  readonly embedding: Matrix;
  readonly layers: readonly LayerWeights[];
  readonly outputNorm: number;
  /** The embedding, if the two are tied. */
  readonly output: Matrix;
  /** [pairs] or undefined. */
  readonly ropeFactors: Float32Array | undefined;
}

/** Allocates all weights in the layout, and lists the tensors to read. */
export class WeightPlan {
  readonly weights: ModelWeights;
  /** Tensor types of all matrices. */
  readonly types = new Set<TensorType>();
  readonly loader: WeightLoader;
  readonly #pending: Pending[] = [];

  constructor(readonly file: ModelFile, readonly config: ModelConfig, readonly layout: Layout) {
    const embedding = this.#matrix(ggufName("embedding"));
    const once = (weight: ModelWeight) => ggufName(weight);
    const factors = attentionsOf(config.layers).some(({ rope }) => rope.factors);
    this.weights = {
      embedding,
      layers: config.layers.map((layer, i) => this.#layer(layer, i)),
      outputNorm: this.#vector(once("outputNorm"), { scale: config.logitScale }),
      output: config.tiedOutput ? embedding : this.#matrix(once("output")),
      ropeFactors: factors ? readVector(file, this.#find(once("ropeFactors"))) : undefined,
    };
    this.loader = new WeightLoader(file, this.#pending, layout);
  }

  /**
   * Multiplications per token with the model's matrices; of the experts, only those that a token is
   * routed to.
   */
  get products(): number {
    const size = ({ rows, columns }: Matrix) => rows * columns;
    const sum = (matrices: readonly Matrix[]) => matrices.reduce((all, m) => all + size(m), 0);
    const layers = this.weights.layers.map((layer, i) => {
      const { mixer, feedForward: f } = layer;
      const mixing = sum(matricesOf(mixer));
      const ofDense = ({ gate, up, down }: Pick<DenseWeights, "gate" | "up" | "down">) =>
        sum([...gate ? [gate] : [], up, down]);
      if (f === undefined) return mixing;
      if (!("router" in f)) return mixing + ofDense(f);
      const { used, count } = this.config.layers[i]!.feedForward as ExpertsSpec;
      const shared = f.shared ? ofDense(f.shared) : 0;
      return mixing + size(f.router) + shared +
        sum([...f.gates ?? [], ...f.ups, ...f.downs]) * used / count;
    });
    return layers.reduce((all, products) => all + products, size(this.weights.output));
  }

  #layer({ mixer, feedForward, postNorms }: LayerSpec, i: number): LayerWeights {
    const matrix = (weight: LayerWeight) => this.#matrix(ggufName(weight, i));
    const stack = (weight: LayerWeight) => this.#stack(ggufName(weight, i));
    const vector = (weight: LayerWeight, present = true) =>
      present ? this.#vector(ggufName(weight, i)) : 0;
    const attention = (
      { bias, headNorm, gated, outputBias = false }: AttentionSpec,
    ): AttentionWeights => ({
      query: matrix("query"),
      queryGate: gated ? matrix("queryGate") : undefined,
      queryBias: vector("queryBias", bias),
      key: matrix("key"),
      keyBias: vector("keyBias", bias),
      value: matrix("value"),
      valueBias: vector("valueBias", bias),
      queryNorm: vector("queryNorm", headNorm),
      keyNorm: vector("keyNorm", headNorm),
      output: matrix("attentionOutput"),
      outputBias: vector("attentionOutputBias", outputBias),
    });
    const recurrent = (spec: RecurrentSpec): RecurrentWeights => ({
      inputs: matrix("recurrentInputs"),
      gate: matrix("recurrentGate"),
      step: matrix("recurrentStep"),
      stepBias: vector("recurrentStepBias"),
      decay: vector("recurrentDecay"),
      strength: spec.kind === "mamba" ? undefined : matrix("deltaStrength"),
      skip: vector("mambaSkip", spec.kind === "mamba"),
      convolution: this.#vector(ggufName("convolution", i), { rowLength: spec.taps }),
      convolutionBias: vector("convolutionBias", spec.kind === "mamba" && spec.convolutionBias),
      norm: vector("recurrentNorm"),
      output: matrix("recurrentOutput"),
    });
    const dense = ({ bias = false, gateless = false }: DenseSpec): DenseWeights => ({
      gate: gateless ? undefined : matrix("gate"),
      gateBias: vector("gateBias", bias && !gateless),
      up: matrix("up"),
      upBias: vector("upBias", bias),
      down: matrix("down"),
      downBias: vector("downBias", bias),
    });
    const experts = ({ shared, sigmoid, gateless = false }: ExpertsSpec): ExpertWeights => ({
      router: matrix("router"),
      routerBias: sigmoid && readVector(this.file, this.#find(ggufName("routerBias", i))),
      gates: gateless ? undefined : stack("expertGates"),
      ups: stack("expertUps"),
      downs: stack("expertDowns"),
      shared: shared && {
        router: vector("sharedRouter", !shared.always),
        gate: gateless ? undefined : matrix("sharedGate"),
        up: matrix("sharedUp"),
        down: matrix("sharedDown"),
      },
    });
    return {
      attentionNorm: vector("attentionNorm", mixer !== undefined),
      mixer: mixer && (isRecurrent(mixer) ? recurrent(mixer) : attention(mixer)),
      attentionPostNorm: vector("attentionPostNorm", mixer !== undefined && postNorms),
      ffnNorm: vector("ffnNorm", feedForward !== undefined),
      feedForward: feedForward &&
        (feedForward.kind === "experts" ? experts(feedForward) : dense(feedForward)),
      ffnPostNorm: vector("ffnPostNorm", feedForward !== undefined && postNorms),
    };
  }

  #matrix(name: string): Matrix {
    const tensor = this.#find(name);
    const matrix = this.#place(tensor, tensor.shape as [number, number]);
    this.#pending.push({ tensor, matrices: [matrix] });
    return matrix;
  }

  #stack(name: string): Matrix[] {
    const tensor = this.#find(name);
    const [count, ...shape] = tensor.shape as [number, number, number];
    const matrices = Array.from({ length: count }, () => this.#place(tensor, shape));
    this.#pending.push({ tensor, matrices });
    return matrices;
  }

  #place({ type }: TensorInfo, [rows, columns]: readonly [number, number]): Matrix {
    this.types.add(type);
    const format = WASM_FORMATS[type];
    return {
      type,
      format,
      rows,
      columns,
      layout: stripLayout(format, columns),
      address: this.layout.allocate(matrixBytes(type, rows, columns)),
    };
  }

  /** Allocates a vector, padded with zeros to whole spans. */
  #vector(name: string, { scale = 1, rowLength = 1 } = {}): number {
    const tensor = this.#find(name);
    const count = tensor.shape.reduce((a, b) => a * b);
    const vector = this.layout.allocate(4 * vectorLength(count));
    this.#pending.push({ tensor, vector, scale, rowLength });
    return vector;
  }

  #find(name: string): TensorInfo {
    const tensor = this.file.tensors.get(name);
    if (tensor === undefined) {
      throw new ModelFormatError(`Cannot load ${this.file.paths[0]}: tensor '${name}' is missing`);
    }
    return tensor;
  }
}

/** Returns the matrices of a mixer that a token is multiplied by. */
function matricesOf(mixer: AttentionWeights | RecurrentWeights | undefined): Matrix[] {
  if (mixer === undefined) return [];
  if ("inputs" in mixer) {
    const { inputs, gate, step, strength } = mixer;
    return [inputs, gate, step, ...(strength ? [strength] : []), mixer.output];
  }
  const { query, queryGate, key, value, output } = mixer;
  return [query, ...(queryGate ? [queryGate] : []), key, value, output];
}
