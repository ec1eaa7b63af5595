/** The weights that a model has, with their shapes, from its list of layers. */

import { architectureOf } from "./architectures/mod.ts";
import type { AttentionSpec, FeedForwardSpec, LayerSpec, ModelConfig } from "./config.ts";
import {
  ggufName,
  LAYER_WEIGHTS,
  type LayerWeight,
  MODEL_WEIGHTS,
  type ModelWeight,
  type WeightName,
} from "./weight_names.ts";

/** A weight that a model must have. */
export interface ExpectedWeight {
  readonly weight: ModelWeight | LayerWeight;
  /** The layer it is of; absent: of the model. */
  readonly layer?: number;
  /** Name in GGUF. */
  readonly name: string;
  /** Name in Hugging Face's checkpoints; of experts, which are apart there, see expert_tensors.ts. */
  readonly hf: string;
  /** Outermost first: [rows, columns], [experts, rows, columns], or [elements] of a vector. */
  readonly shape: readonly number[];
}

/** Every weight that a model of `config` has. */
export function* expectedWeights(config: ModelConfig): Generator<ExpectedWeight> {
  for (const [weight, shape] of modelShapes(config)) {
    const { hf }: WeightName = MODEL_WEIGHTS[weight];
    const name = ggufName(weight);
    yield { weight, name, hf: hf ?? name, shape };
  }
  const { hfNames = {} } = architectureOf(config);
  for (const [layer, spec] of config.layers.entries()) {
    for (const [weight, shape] of layerShapes(spec, config.dim)) {
      const hf = (hfNames[weight] ?? LAYER_WEIGHTS[weight].hf).replace("{}", String(layer));
      yield { weight, layer, name: ggufName(weight, layer), hf, shape };
    }
  }
}

type Shaped<Weight> = readonly [Weight, readonly number[]];

function* modelShapes(config: ModelConfig): Generator<Shaped<ModelWeight>> {
  const { dim, vocabSize, tiedOutput, layers } = config;
  yield ["embedding", [vocabSize, dim]];
  yield ["outputNorm", [dim]];
  if (!tiedOutput) yield ["output", [vocabSize, dim]];
  const withFactors = layers.find(({ mixer }) => mixer.rope.factors);
  if (withFactors) yield ["ropeFactors", [withFactors.mixer.rope.dims / 2]];
}

// In the order in which the forward pass uses them.
function* layerShapes(layer: LayerSpec, dim: number): Generator<Shaped<LayerWeight>> {
  yield ["attentionNorm", [dim]];
  yield* attentionShapes(layer.mixer, dim);
  if (layer.postNorms) yield ["attentionPostNorm", [dim]];
  yield ["ffnNorm", [dim]];
  yield* feedForwardShapes(layer.feedForward, dim);
  if (layer.postNorms) yield ["ffnPostNorm", [dim]];
}

function* attentionShapes(
  { heads, kvHeads, headDim, bias, headNorm, outputBias }: AttentionSpec,
  dim: number,
): Generator<Shaped<LayerWeight>> {
  const [queries, keys] = [heads * headDim, kvHeads * headDim];
  yield ["query", [queries, dim]];
  if (bias) yield ["queryBias", [queries]];
  yield ["key", [keys, dim]];
  if (bias) yield ["keyBias", [keys]];
  yield ["value", [keys, dim]];
  if (bias) yield ["valueBias", [keys]];
  if (headNorm) {
    yield ["queryNorm", [headDim]];
    yield ["keyNorm", [headDim]];
  }
  yield ["attentionOutput", [dim, queries]];
  if (outputBias) yield ["attentionOutputBias", [dim]];
}

function* feedForwardShapes(spec: FeedForwardSpec, dim: number): Generator<Shaped<LayerWeight>> {
  const { width } = spec;
  if (spec.kind === "dense") {
    yield ["gate", [width, dim]];
    if (spec.bias) yield ["gateBias", [width]];
    yield ["up", [width, dim]];
    if (spec.bias) yield ["upBias", [width]];
    yield ["down", [dim, width]];
    if (spec.bias) yield ["downBias", [dim]];
  } else {
    yield ["router", [spec.count, dim]];
    yield ["expertGates", [spec.count, width, dim]];
    yield ["expertUps", [spec.count, width, dim]];
    yield ["expertDowns", [spec.count, dim, width]];
  }
}
