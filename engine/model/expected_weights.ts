/** Derives the weights that a model must have, with their shapes, from its list of layers. */

import { architectureOf } from "./architectures/mod.ts";
import type {
  AttentionSpec,
  FeedForwardSpec,
  LayerSpec,
  ModelConfig,
  RecurrentSpec,
} from "./config.ts";
import { attentionsOf, channelsOf, isRecurrent } from "./mixers.ts";
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
  /** The layer that it belongs to; absent if it belongs to the model as a whole. */
  readonly layer?: number;
  /** Name in the engine. */
  readonly name: string;
  /** Name in GGUF files. */
  readonly gguf: string;
  /**
   * Name in Hugging Face's checkpoints. For experts, the name of the stacked tensor, which
   * expert_tensors.ts builds.
   */
  readonly hf: string;
  /** Outermost dimension first: [rows, columns], [experts, rows, columns], or [elements]. */
  readonly shape: readonly number[];
  /** Shape of the same elements in GGUF files, if it differs. */
  readonly ggufShape?: readonly number[];
}

/** Yields every weight that a model with this config must have. */
export function* expectedWeights(config: ModelConfig): Generator<ExpectedWeight> {
  const { hfNames = {}, ggufNames = {} } = architectureOf(config);
  for (const [weight, shape] of modelShapes(config)) {
    const { hf }: WeightName = MODEL_WEIGHTS[weight];
    const name = ggufName(weight);
    yield { weight, name, gguf: name, hf: hfNames[weight] ?? hf ?? name, shape };
  }
  for (const [layer, spec] of config.layers.entries()) {
    for (const [weight, shape, ggufShape] of layerShapes(spec, config.dim)) {
      const hf = (hfNames[weight] ?? LAYER_WEIGHTS[weight].hf).replace("{}", String(layer));
      const name = ggufName(weight, layer);
      const gguf = ggufNames[weight]?.replace("{}", String(layer)) ?? name;
      yield { weight, layer, name, gguf, hf, shape, ...(ggufShape && { ggufShape }) };
    }
  }
}

/** A weight, its shape, and its shape in GGUF if that differs. */
type Shaped<Weight> = readonly [Weight, readonly number[], (readonly number[] | undefined)?];

function* modelShapes(config: ModelConfig): Generator<Shaped<ModelWeight>> {
  const { dim, vocabSize, tiedOutput, layers } = config;
  yield ["embedding", [vocabSize, dim]];
  yield ["outputNorm", [dim]];
  if (!tiedOutput) yield ["output", [vocabSize, dim]];
  const withFactors = attentionsOf(layers).find(({ rope }) => rope.factors);
  if (withFactors) yield ["ropeFactors", [withFactors.rope.dims / 2]];
}

// Weights come in the order in which the forward pass uses them.
function* layerShapes(layer: LayerSpec, dim: number): Generator<Shaped<LayerWeight>> {
  const { mixer, feedForward, postNorms } = layer;
  if (mixer) {
    yield ["attentionNorm", [dim]];
    if (isRecurrent(mixer)) yield* recurrentShapes(mixer, dim);
    else yield* attentionShapes(mixer, dim);
    if (postNorms) yield ["attentionPostNorm", [dim]];
  }
  if (feedForward) {
    yield ["ffnNorm", [dim]];
    yield* feedForwardShapes(feedForward, dim);
    if (postNorms) yield ["ffnPostNorm", [dim]];
  }
}

function* attentionShapes(
  { heads, kvHeads, headDim, bias, headNorm, outputBias, gated }: AttentionSpec,
  dim: number,
): Generator<Shaped<LayerWeight>> {
  const [queries, keys] = [heads * headDim, kvHeads * headDim];
  yield ["query", [queries, dim]];
  if (gated) yield ["queryGate", [queries, dim]];
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

function* recurrentShapes(mixer: RecurrentSpec, dim: number): Generator<Shaped<LayerWeight>> {
  const { keyHeads, valueHeads, valueDim, taps } = mixer;
  const values = valueHeads * valueDim;
  const inputs = channelsOf(mixer);
  const isMamba = mixer.kind === "mamba";
  yield ["recurrentInputs", [inputs, dim]];
  yield ["recurrentGate", [values, dim]];
  yield ["recurrentStep", [valueHeads, dim]];
  yield ["recurrentStepBias", [valueHeads]];
  const column = isMamba ? [valueHeads, 1] : undefined;
  yield ["recurrentDecay", [valueHeads], column];
  if (isMamba) yield ["mambaSkip", [valueHeads], column];
  else yield ["deltaStrength", [valueHeads, dim]];
  yield ["convolution", [inputs, taps]];
  if (isMamba && mixer.convolutionBias) yield ["convolutionBias", [inputs]];
  if (isMamba) yield ["recurrentNorm", [values], [keyHeads, values / keyHeads]];
  else yield ["recurrentNorm", [valueDim]];
  yield ["recurrentOutput", [dim, values]];
}

function* feedForwardShapes(spec: FeedForwardSpec, dim: number): Generator<Shaped<LayerWeight>> {
  const { width, gateless = false } = spec;
  if (spec.kind === "dense") {
    if (!gateless) yield ["gate", [width, dim]];
    if (spec.bias && !gateless) yield ["gateBias", [width]];
    yield ["up", [width, dim]];
    if (spec.bias) yield ["upBias", [width]];
    yield ["down", [dim, width]];
    if (spec.bias) yield ["downBias", [dim]];
  } else {
    yield ["router", [spec.count, dim]];
    if (spec.sigmoid) yield ["routerBias", [spec.count]];
    if (!gateless) yield ["expertGates", [spec.count, width, dim]];
    yield ["expertUps", [spec.count, width, dim]];
    yield ["expertDowns", [spec.count, dim, width]];
    if (spec.shared === undefined) return;
    if (!spec.shared.always) yield ["sharedRouter", [dim]];
    if (!gateless) yield ["sharedGate", [spec.shared.width, dim]];
    yield ["sharedUp", [spec.shared.width, dim]];
    yield ["sharedDown", [dim, spec.shared.width]];
  }
}
