/** The forward pass of a decoder-only transformer over a batch of tokens. */

import type {
  AttentionSpec,
  DenseSpec,
  FeedForwardSpec,
  LayerSpec,
  ModelConfig,
} from "../model/config.ts";
import { type RopeSpec, type RopeTable, ropeTable, temperatureAt } from "../model/rope.ts";
import { UNPACK } from "../../kernels/dequantize.ts";
import { activate } from "../../kernels/reference.ts";
import { packedBytes } from "../../kernels/tensor_types.ts";
import { attend } from "./attention.ts";
import { Experts } from "./experts.ts";
import type { KvCache } from "./kv_cache.ts";
import { matmul } from "./matmul.ts";
import { attentionsOf, isRecurrent } from "../model/mixers.ts";
import { RecurrentLayers, type StatefulToken } from "./recurrent.ts";
import type {
  AttentionWeights,
  DenseWeights,
  ExpertWeights,
  LayerWeights,
  ModelWeights,
  RecurrentWeights,
} from "./weights.ts";

/** An input token of a step. */
export interface EnteringToken extends StatefulToken {
  readonly id: number;
  /**
   * By group of layers, [position + 1]: the rows of the KV cache that its sequence uses; its own is
   * last.
   */
  readonly rows: readonly Int32Array[];
}

/** A table of rotations, and the rotations of the step's tokens. */
interface Rotation extends RopeTable {
  readonly cos: Float64Array; // [tokens, pairs]
  readonly sin: Float64Array; // [tokens, pairs]
}

/**
 * Rows of logits computed together: enough to share the unpacking, few enough for any vocabulary.
 */
const LOGIT_ROWS = 16;

/**
 * A model and its buffers. `forward` and `logits` are generators that pause every few milliseconds,
 * also within large products, so that the caller can let other work run. Each must run to its end
 * before the next one starts.
 */
export class Transformer {
  readonly #rotations = new Map<RopeSpec, Rotation>();
  readonly #row: Float32Array; // [dim]
  readonly #hidden: Float64Array; // [tokens, dim]
  readonly #normed: Float64Array; // [tokens, dim]
  readonly #queries: Float64Array; // [tokens, heads, headDim]
  readonly #keys: Float64Array; // [tokens, kvHeads, headDim]
  readonly #values: Float64Array; // [tokens, kvHeads, headDim]
  readonly #attended: Float64Array; // [tokens, heads, headDim]
  readonly #headGates: Float64Array; // [tokens, heads, headDim]
  readonly #gate: Float64Array; // [tokens, ffnDim]
  readonly #up: Float64Array; // [tokens, ffnDim]
  readonly #experts: Experts | undefined;
  readonly #recurrent: RecurrentLayers;
  readonly #added: Float64Array; // [tokens, dim]
  readonly #logits: Float64Array; // [LOGIT_ROWS, vocabSize]
  readonly #scores: Float64Array; // [positions]

  readonly weights: ModelWeights;
  readonly cache: KvCache;

  constructor(
    readonly config: ModelConfig,
    { weights, cache }: { readonly weights: ModelWeights; readonly cache: KvCache },
    sizes: {
      readonly maxTokens: number;
      readonly maxPositions: number;
      readonly slots: number;
    },
  ) {
    this.weights = weights;
    this.cache = cache;
    const { dim, vocabSize, layers } = config;
    const { maxTokens } = sizes;
    const buffer = (width: number) => new Float64Array(maxTokens * width);
    const widest = (width: (layer: LayerSpec) => number) => Math.max(...layers.map(width));
    const attentions = attentionsOf(layers);
    const queryDim = Math.max(...attentions.map(({ heads, headDim }) => heads * headDim));
    const kvDim = Math.max(...attentions.map(({ kvHeads, headDim }) => kvHeads * headDim));
    const ffnDim = widest(({ feedForward: f }) => f?.kind === "dense" ? f.width : 0);
    for (const { rope } of attentions) {
      if (this.#rotations.has(rope)) continue;
      const table = ropeTable(rope, rope.factors ? weights.ropeFactors : undefined);
      const [cos, sin] = [buffer(rope.dims / 2), buffer(rope.dims / 2)];
      this.#rotations.set(rope, { ...table, cos, sin });
    }
    this.#row = new Float32Array(dim);
    this.#hidden = buffer(dim);
    this.#normed = buffer(dim);
    this.#queries = buffer(queryDim);
    this.#keys = buffer(kvDim);
    this.#values = buffer(kvDim);
    this.#attended = buffer(queryDim);
    this.#headGates = buffer(attentions.some(({ gated }) => gated) ? queryDim : 0);
    this.#gate = buffer(ffnDim);
    this.#up = buffer(ffnDim);
    const routed = layers.some(({ feedForward }) => feedForward?.kind === "experts");
    this.#experts = routed ? new Experts(config, maxTokens) : undefined;
    this.#recurrent = new RecurrentLayers(config, sizes);
    this.#added = buffer(dim);
    this.#logits = new Float64Array(LOGIT_ROWS * vocabSize);
    this.#scores = new Float64Array(sizes.maxPositions);
  }

  /**
   * Runs all layers over `tokens`. The tokens of a sequence must be in order of their positions.
   */
  *forward(tokens: readonly EnteringToken[]): Generator<void, void> {
    this.#embed(tokens);
    for (const rotation of this.#rotations.values()) setAngles(rotation, tokens);
    for (const [i, layer] of this.weights.layers.entries()) {
      const { mixer, feedForward } = this.config.layers[i]!;
      if (mixer) yield* this.#mixer(i, layer, tokens);
      if (feedForward) yield* this.#feedForward(feedForward, layer, tokens.length);
    }
  }

  /**
   * Computes the logits after some of the tokens of the last `forward`.
   *
   * @param indices the indices of these tokens in `forward`'s list
   */
  *logits(indices: readonly number[]): Generator<void, Float32Array[]> {
    const { dim, vocabSize, logitScale } = this.config;
    const all: Float32Array[] = [];
    for (let start = 0; start < indices.length; start += LOGIT_ROWS) {
      const chunk = indices.slice(start, start + LOGIT_ROWS);
      chunk.forEach((index, i) => {
        this.#norm(this.weights.outputNorm, { x: this.#hidden, from: index * dim }, {
          out: this.#normed,
          to: i * dim,
        });
      });
      yield* matmul(this.weights.output, {
        x: this.#normed,
        tokens: chunk.length,
        out: this.#logits,
      });
      for (let i = 0; i < chunk.length; i++) {
        const row = this.#logits.subarray(i * vocabSize, (i + 1) * vocabSize);
        all.push(Float32Array.from(row, (logit) => logit * logitScale));
      }
    }
    return all;
  }

  /** h += mixer(norm(h)). */
  *#mixer(
    index: number,
    layer: LayerWeights,
    tokens: readonly EnteringToken[],
  ): Generator<void, void> {
    const { config: { dim, layers } } = this;
    const mixer = layers[index]!.mixer!;
    const count = tokens.length;
    for (let t = 0; t < count; t++) {
      this.#norm(layer.attentionNorm!, { x: this.#hidden, from: t * dim }, {
        out: this.#normed,
        to: t * dim,
      });
    }
    if (isRecurrent(mixer)) {
      const step = { tokens, x: this.#normed, out: this.#added };
      yield* this.#recurrent.run(index, layer.mixer as RecurrentWeights, step);
    } else {
      const weights = layer.mixer as AttentionWeights;
      yield* this.#attention(mixer, weights, { index, tokens });
    }
    this.#addToHidden(count, layer.attentionPostNorm);
  }

  /** added = output · attention(normed). */
  *#attention(
    mixer: AttentionSpec,
    layer: AttentionWeights,
    { index, tokens }: { readonly index: number; readonly tokens: readonly EnteringToken[] },
  ): Generator<void, void> {
    const { cache } = this;
    const { heads, kvHeads, headDim } = mixer;
    const own = cache.layers[index]!;
    const count = tokens.length;
    const queries = this.#queries, keys = this.#keys, values = this.#values;
    yield* matmul(layer.query, {
      x: this.#normed,
      tokens: count,
      out: queries,
      bias: layer.queryBias,
    });
    yield* matmul(layer.key, {
      x: this.#normed,
      tokens: count,
      out: keys,
      bias: layer.keyBias,
    });
    yield* matmul(layer.value, {
      x: this.#normed,
      tokens: count,
      out: values,
      bias: layer.valueBias,
    });
    for (let t = 0; t < count; t++) {
      this.#positionHeads(queries, t, { mixer, heads, norm: layer.queryNorm });
      this.#positionHeads(keys, t, { mixer, heads: kvHeads, norm: layer.keyNorm });
      const temperature = temperatureAt(mixer, tokens[t]!.position);
      for (let i = t * heads * headDim; i < (t + 1) * heads * headDim; i++) {
        queries[i]! *= temperature;
      }
      const row = tokens[t]!.rows[own.group]!.at(-1)!;
      cache.write(index, row, { keys, values, from: t * own.kvDim });
    }
    for (let t = 0; t < count; t++) {
      yield* attend(mixer, {
        queries,
        from: t * heads * headDim,
        cache: own,
        rows: tokens[t]!.rows[own.group]!,
        scores: this.#scores,
        out: this.#attended,
      });
    }
    if (layer.queryGate !== undefined) {
      const gates = this.#headGates;
      yield* matmul(layer.queryGate, { x: this.#normed, tokens: count, out: gates });
      for (let i = 0; i < count * heads * headDim; i++) {
        this.#attended[i]! /= 1 + Math.exp(-gates[i]!);
      }
    }
    yield* matmul(layer.output, {
      x: this.#attended,
      tokens: count,
      out: this.#added,
      bias: layer.outputBias,
    });
  }

  *#feedForward(
    spec: FeedForwardSpec,
    layer: LayerWeights,
    count: number,
  ): Generator<void, void> {
    const { dim } = this.config;
    for (let t = 0; t < count; t++) {
      this.#norm(layer.ffnNorm!, { x: this.#hidden, from: t * dim }, {
        out: this.#normed,
        to: t * dim,
      });
    }
    const weights = layer.feedForward;
    if (spec.kind === "experts") {
      const tokens = { x: this.#normed, count, out: this.#added };
      yield* this.#experts!.run(spec, weights as ExpertWeights, tokens);
    } else {
      yield* this.#dense(spec, weights as DenseWeights, count);
    }
    this.#addToHidden(count, layer.ffnPostNorm);
  }

  *#dense(spec: DenseSpec, weights: DenseWeights, count: number): Generator<void, void> {
    const gate = this.#gate, up = this.#up, x = this.#normed;
    if (weights.gate) {
      yield* matmul(weights.gate, { x, tokens: count, out: gate, bias: weights.gateBias });
    }
    yield* matmul(weights.up, { x, tokens: count, out: up, bias: weights.upBias });
    for (let i = 0; i < count * spec.width; i++) {
      up[i] = weights.gate
        ? activate(gate[i]!, spec.activation) * up[i]!
        : activate(up[i]!, spec.activation);
    }
    yield* matmul(weights.down, {
      x: up,
      tokens: count,
      out: this.#added,
      bias: weights.downBias,
    });
  }

  #embed(tokens: readonly EnteringToken[]): void {
    const { type, cols, bytes } = this.weights.embedding;
    const rowBytes = packedBytes(type, cols);
    tokens.forEach(({ id }, t) => {
      UNPACK[type](bytes.subarray(id * rowBytes), this.#row, cols);
      const scale = this.config.embeddingScale;
      for (let i = 0; i < cols; i++) this.#hidden[t * cols + i] = this.#row[i]! * scale;
    });
  }

  /** Normalizes (if the layer has head norms) and rotates the heads of token `t`, in place. */
  #positionHeads(
    x: Float64Array,
    t: number,
    { mixer: { headDim, rope }, heads, norm }: {
      readonly mixer: AttentionSpec;
      readonly heads: number;
      readonly norm: Float32Array | undefined;
    },
  ): void {
    const { cos, sin, frequencies: { length: pairs } } = this.#rotations.get(rope)!;
    const [stride, apart] = rope.layout === "half" ? [1, pairs] : [2, 1];
    for (let at = t * heads * headDim; at < (t + 1) * heads * headDim; at += headDim) {
      if (norm !== undefined) this.#norm(norm, { x, from: at }, { out: x, to: at });
      for (let i = 0; i < pairs; i++) {
        const [c, s] = [cos[t * pairs + i]!, sin[t * pairs + i]!];
        const a = x[at + i * stride]!;
        const b = x[at + i * stride + apart]!;
        x[at + i * stride] = a * c - b * s;
        x[at + i * stride + apart] = a * s + b * c;
      }
    }
  }

  /** Applies RMSNorm to the `weight.length` elements at `from`. */
  #norm(
    weight: Float32Array,
    { x, from }: { readonly x: Float64Array; readonly from: number },
    { out, to }: { readonly out: Float64Array; readonly to: number },
  ): void {
    const size = weight.length;
    let squares = 0;
    for (let i = 0; i < size; i++) squares += x[from + i]! * x[from + i]!;
    const scale = 1 / Math.sqrt(squares / size + this.config.rmsEpsilon);
    for (let i = 0; i < size; i++) out[to + i] = x[from + i]! * scale * weight[i]!;
  }

  /**
   * Adds the output of a mixer or a feed-forward network to the hidden states, normalized if the
   * layer has a norm for it.
   */
  #addToHidden(count: number, norm: Float32Array | undefined): void {
    const { dim } = this.config;
    if (norm !== undefined) {
      for (let t = 0; t < count; t++) {
        this.#norm(norm, { x: this.#added, from: t * dim }, { out: this.#added, to: t * dim });
      }
    }
    for (let i = 0; i < count * dim; i++) this.#hidden[i]! += this.#added[i]!;
  }
}

/** Computes the cosines and sines of the tokens, which all heads share. */
function setAngles(rotation: Rotation, tokens: readonly EnteringToken[]): void {
  const { frequencies, magnitude, cos, sin } = rotation;
  const pairs = frequencies.length;
  tokens.forEach(({ position }, t) => {
    for (let i = 0; i < pairs; i++) {
      cos[t * pairs + i] = Math.cos(position * frequencies[i]!) * magnitude;
      sin[t * pairs + i] = Math.sin(position * frequencies[i]!) * magnitude;
    }
  });
}
