/** A layer's feed-forward network of routed experts. */

import type { PackedMatrix } from "../../kernels/reference.ts";
import type { ExpertConfig } from "../model/config.ts";
import { matmul, matmulScratch } from "./matmul.ts";
import type { ExpertWeights } from "./weights.ts";

/** One of a token's experts and its share in the result. */
interface Route {
  readonly token: number;
  readonly weight: number;
}

/** The layer and the memory it works in. */
export class Experts {
  readonly #scratch: Float32Array;
  readonly #logits: Float64Array; // [tokens, count]
  readonly #x: Float64Array; // [tokens, dim]: the inputs of one expert
  readonly #gate: Float64Array; // [tokens, ffnDim]
  readonly #up: Float64Array; // [tokens, ffnDim]
  readonly #part: Float64Array; // [tokens, dim]

  constructor(readonly config: ExpertConfig, readonly dim: number, maxTokens: number) {
    const { count, ffnDim } = config;
    this.#scratch = matmulScratch(Math.max(dim, ffnDim));
    this.#logits = new Float64Array(maxTokens * count);
    this.#x = new Float64Array(maxTokens * dim);
    this.#gate = new Float64Array(maxTokens * ffnDim);
    this.#up = new Float64Array(maxTokens * ffnDim);
    this.#part = new Float64Array(maxTokens * dim);
  }

  /**
   * out = Σ weight · expert(x) over each token's experts, in order of their numbers, so that a
   * token's result does not depend on the batch. Pauses as matmul() does.
   *
   * @param x [tokens, dim]
   * @param out [tokens, dim]
   */
  *run(
    weights: ExpertWeights,
    x: Float64Array,
    tokens: number,
    out: Float64Array,
  ): Generator<void, void> {
    const { dim } = this;
    yield* this.#product(weights.router, x, tokens, this.#logits);
    const routes = this.#route(tokens);
    out.fill(0, 0, tokens * dim);
    for (const [expert, own] of routes.entries()) {
      if (own.length === 0) continue;
      own.forEach(({ token }, i) => {
        this.#x.set(x.subarray(token * dim, (token + 1) * dim), i * dim);
      });
      yield* this.#expert(weights, expert, own.length);
      own.forEach(({ token, weight }, i) => {
        for (let d = 0; d < dim; d++) out[token * dim + d]! += weight * this.#part[i * dim + d]!;
      });
    }
  }

  /** The tokens of each expert: a token's are those of the largest logits, of equals the first. */
  #route(tokens: number): Route[][] {
    const { count, used, normalized } = this.config;
    const routes = Array.from({ length: count }, (): Route[] => []);
    for (let token = 0; token < tokens; token++) {
      const logits = this.#logits.subarray(token * count, (token + 1) * count);
      const order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
      const chosen = order.slice(0, used);
      const most = logits[chosen[0]!]!;
      const summed = normalized ? chosen : order;
      const total = summed.reduce((sum, e) => sum + Math.exp(logits[e]! - most), 0);
      for (const e of chosen) {
        routes[e]!.push({ token, weight: Math.exp(logits[e]! - most) / total });
      }
    }
    return routes;
  }

  /** part = down · (silu(gate · x) · up · x). */
  *#expert(
    { gates, ups, downs }: ExpertWeights,
    expert: number,
    tokens: number,
  ): Generator<void, void> {
    const gate = this.#gate, up = this.#up;
    yield* this.#product(gates[expert]!, this.#x, tokens, gate);
    yield* this.#product(ups[expert]!, this.#x, tokens, up);
    for (let i = 0; i < tokens * this.config.ffnDim; i++) {
      gate[i] = gate[i]! / (1 + Math.exp(-gate[i]!)) * up[i]!;
    }
    yield* this.#product(downs[expert]!, gate, tokens, this.#part);
  }

  #product(
    weights: PackedMatrix,
    x: Float64Array,
    tokens: number,
    out: Float64Array,
  ): Generator<void, void> {
    return matmul(weights, x, tokens, out, this.#scratch);
  }
}
