/** The forward pass of a decoder-only transformer over a batch of tokens. */

import type { ModelConfig } from "../model/config.ts";
import { type RopeTable, ropeTable } from "../model/rope.ts";
import { UNPACK } from "../../kernels/dequantize.ts";
import type { PackedMatrix } from "../../kernels/reference.ts";
import { packedBytes } from "../../kernels/tensor_types.ts";
import { attend } from "./attention.ts";
import { Experts } from "./experts.ts";
import type { KvCache } from "./kv_cache.ts";
import { matmul, matmulScratch } from "./matmul.ts";
import type { DenseWeights, LayerWeights, ModelWeights } from "./weights.ts";

/** One token that enters. */
export interface EnteringToken {
  readonly id: number;
  /** [position + 1]: the rows of the KV cache that hold its sequence, its own last. */
  readonly rows: Int32Array;
}

/** Rows of logits computed together: enough to share the unpacking, few enough for any vocabulary. */
const LOGIT_ROWS = 16;

/**
 * The model and the memory it works in. `forward` and `logits` are generators that pause every few
 * milliseconds, within large products too, so that their caller can let other work run; they must
 * run to their end, one after the other.
 */
export class Transformer {
  readonly #rope: RopeTable;
  readonly #scratch: Float32Array;
  readonly #row: Float32Array; // [dim]
  readonly #hidden: Float64Array; // [tokens, dim]
  readonly #normed: Float64Array; // [tokens, dim]
  readonly #queries: Float64Array; // [tokens, heads, headDim]
  readonly #keys: Float64Array; // [tokens, kvHeads, headDim]
  readonly #values: Float64Array; // [tokens, kvHeads, headDim]
  readonly #attended: Float64Array; // [tokens, heads, headDim]
  readonly #gate: Float64Array; // [tokens, ffnDim]
  readonly #up: Float64Array; // [tokens, ffnDim]
  readonly #experts: Experts | undefined;
  readonly #added: Float64Array; // [tokens, dim]
  readonly #logits: Float64Array; // [LOGIT_ROWS, vocabSize]
  readonly #cos: Float64Array; // [tokens, pairs]
  readonly #sin: Float64Array; // [tokens, pairs]
  readonly #scores: Float64Array; // [positions]

  constructor(
    readonly config: ModelConfig,
    readonly weights: ModelWeights,
    readonly cache: KvCache,
    sizes: { readonly maxTokens: number; readonly maxPositions: number },
  ) {
    const { dim, heads, headDim, vocabSize, ropeDims, experts } = config;
    const { maxTokens } = sizes;
    const ffnDim = experts ? 0 : config.ffnDim;
    const buffer = (width: number) => new Float64Array(maxTokens * width);
    this.#rope = ropeTable(config, weights.ropeFactors);
    this.#scratch = matmulScratch(Math.max(dim, heads * headDim, ffnDim));
    this.#row = new Float32Array(dim);
    this.#hidden = buffer(dim);
    this.#normed = buffer(dim);
    this.#queries = buffer(heads * headDim);
    this.#keys = buffer(cache.kvDim);
    this.#values = buffer(cache.kvDim);
    this.#attended = buffer(heads * headDim);
    this.#gate = buffer(ffnDim);
    this.#up = buffer(ffnDim);
    this.#experts = experts && new Experts(experts, dim, maxTokens);
    this.#added = buffer(dim);
    this.#cos = buffer(ropeDims / 2);
    this.#sin = buffer(ropeDims / 2);
    this.#logits = new Float64Array(LOGIT_ROWS * vocabSize);
    this.#scores = new Float64Array(sizes.maxPositions);
  }

  /** Runs all layers over `tokens`; those of one sequence in order of their positions. */
  *forward(tokens: readonly EnteringToken[]): Generator<void, void> {
    this.#embed(tokens);
    this.#turn(tokens);
    for (const [i, layer] of this.weights.layers.entries()) {
      yield* this.#attention(i, layer, tokens);
      yield* this.#feedForward(layer, tokens.length);
    }
  }

  /** The logits after some of the tokens that `forward` ran last, by their index in it. */
  *logits(indices: readonly number[]): Generator<void, Float32Array[]> {
    const { dim, vocabSize } = this.config;
    const all: Float32Array[] = [];
    for (let start = 0; start < indices.length; start += LOGIT_ROWS) {
      const chunk = indices.slice(start, start + LOGIT_ROWS);
      chunk.forEach((index, i) => {
        this.#norm(this.#hidden, index * dim, this.weights.outputNorm, this.#normed, i * dim);
      });
      yield* this.#product(this.weights.output, this.#normed, chunk.length, this.#logits);
      for (let i = 0; i < chunk.length; i++) {
        all.push(Float32Array.from(this.#logits.subarray(i * vocabSize, (i + 1) * vocabSize)));
      }
    }
    return all;
  }

  *#attention(
    index: number,
    layer: LayerWeights,
    tokens: readonly EnteringToken[],
  ): Generator<void, void> {
    const { config, cache } = this;
    const { dim, heads, kvHeads, headDim } = config;
    const count = tokens.length;
    const queries = this.#queries, keys = this.#keys, values = this.#values;
    for (let t = 0; t < count; t++) {
      this.#norm(this.#hidden, t * dim, layer.attentionNorm, this.#normed, t * dim);
    }
    yield* this.#product(layer.query, this.#normed, count, queries, layer.queryBias);
    yield* this.#product(layer.key, this.#normed, count, keys, layer.keyBias);
    yield* this.#product(layer.value, this.#normed, count, values, layer.valueBias);
    for (let t = 0; t < count; t++) {
      this.#positionHeads(queries, t, heads, layer.queryNorm);
      this.#positionHeads(keys, t, kvHeads, layer.keyNorm);
      cache.write(index, tokens[t]!.rows.at(-1)!, keys, values, t * cache.kvDim);
    }
    for (let t = 0; t < count; t++) {
      yield* attend(
        config,
        queries,
        t * heads * headDim,
        cache.keys[index]!,
        cache.values[index]!,
        tokens[t]!.rows,
        this.#scores,
        this.#attended,
      );
    }
    yield* this.#product(layer.attentionOutput, this.#attended, count, this.#added);
    this.#addToHidden(count);
  }

  *#feedForward(layer: LayerWeights, count: number): Generator<void, void> {
    const { dim } = this.config;
    for (let t = 0; t < count; t++) {
      this.#norm(this.#hidden, t * dim, layer.ffnNorm, this.#normed, t * dim);
    }
    const weights = layer.feedForward;
    if ("router" in weights) {
      yield* this.#experts!.run(weights, this.#normed, count, this.#added);
    } else {
      yield* this.#dense(weights, count);
    }
    this.#addToHidden(count);
  }

  *#dense(weights: DenseWeights, count: number): Generator<void, void> {
    const gate = this.#gate, up = this.#up;
    yield* this.#product(weights.gate, this.#normed, count, gate);
    yield* this.#product(weights.up, this.#normed, count, up);
    for (let i = 0; i < count * this.config.ffnDim; i++) {
      gate[i] = gate[i]! / (1 + Math.exp(-gate[i]!)) * up[i]!;
    }
    yield* this.#product(weights.down, gate, count, this.#added);
  }

  #product(
    weights: PackedMatrix,
    x: Float64Array,
    tokens: number,
    out: Float64Array,
    bias?: Float32Array,
  ): Generator<void, void> {
    return matmul(weights, x, tokens, out, this.#scratch, bias);
  }

  #embed(tokens: readonly EnteringToken[]): void {
    const { type, cols, bytes } = this.weights.embedding;
    const rowBytes = packedBytes(type, cols);
    tokens.forEach(({ id }, t) => {
      UNPACK[type](bytes, id * rowBytes, this.#row, 0, cols);
      this.#hidden.set(this.#row, t * cols);
    });
  }

  /** Cosines and sines of RoPE, which all layers and heads share. */
  #turn(tokens: readonly EnteringToken[]): void {
    const { frequencies, magnitude } = this.#rope;
    const pairs = frequencies.length;
    tokens.forEach(({ rows }, t) => {
      const position = rows.length - 1;
      for (let i = 0; i < pairs; i++) {
        this.#cos[t * pairs + i] = Math.cos(position * frequencies[i]!) * magnitude;
        this.#sin[t * pairs + i] = Math.sin(position * frequencies[i]!) * magnitude;
      }
    });
  }

  /** Normalizes (where the model does) and rotates the heads of token `t`, in place. */
  #positionHeads(x: Float64Array, t: number, heads: number, norm: Float32Array | undefined): void {
    const { headDim, ropeLayout } = this.config;
    const pairs = this.#rope.frequencies.length;
    const [stride, apart] = ropeLayout === "half" ? [1, pairs] : [2, 1];
    for (let at = t * heads * headDim; at < (t + 1) * heads * headDim; at += headDim) {
      if (norm !== undefined) this.#norm(x, at, norm, x, at);
      for (let i = 0; i < pairs; i++) {
        const cos = this.#cos[t * pairs + i]!;
        const sin = this.#sin[t * pairs + i]!;
        const a = x[at + i * stride]!;
        const b = x[at + i * stride + apart]!;
        x[at + i * stride] = a * cos - b * sin;
        x[at + i * stride + apart] = a * sin + b * cos;
      }
    }
  }

  /** RMSNorm of the `weight.length` elements at `from`. */
  #norm(x: Float64Array, from: number, weight: Float32Array, out: Float64Array, to: number): void {
    const size = weight.length;
    let squares = 0;
    for (let i = 0; i < size; i++) squares += x[from + i]! * x[from + i]!;
    const scale = 1 / Math.sqrt(squares / size + this.config.rmsEpsilon);
    for (let i = 0; i < size; i++) out[to + i] = x[from + i]! * scale * weight[i]!;
  }

  #addToHidden(count: number): void {
    const size = count * this.config.dim;
    for (let i = 0; i < size; i++) this.#hidden[i]! += this.#added[i]!;
  }
}
