/** A layer's feed-forward network of routed experts. */

import { activate, type PackedMatrix, topExperts } from "../../kernels/reference.ts";
import type { ExpertsSpec, ModelConfig } from "../model/config.ts";
import { matmul } from "./matmul.ts";
import type { ExpertWeights } from "./weights.ts";

/** A token that is routed to an expert, and the expert's weight in the token's result. */
interface Route {
  readonly token: number;
  readonly weight: number;
}

/** Runs the expert layers of a model. It owns their buffers. */
export class Experts {
  readonly #logits: Float64Array; // [tokens, count]
  readonly #x: Float64Array; // [tokens, dim]: the inputs of one expert
  readonly #gate: Float64Array; // [tokens, ffnDim]
  readonly #up: Float64Array; // [tokens, ffnDim]
  readonly #part: Float64Array; // [tokens, dim]
  readonly #shared: Float64Array; // [tokens, dim]: the shared expert's output

  readonly dim: number;

  constructor({ dim, layers }: ModelConfig, maxTokens: number) {
    const specs = layers.flatMap(({ feedForward: f }) => f?.kind === "experts" ? [f] : []);
    const width = Math.max(...specs.map((spec) => Math.max(spec.width, spec.shared?.width ?? 0)));
    this.dim = dim;
    this.#logits = new Float64Array(maxTokens * Math.max(...specs.map(({ count }) => count)));
    this.#x = new Float64Array(maxTokens * dim);
    this.#gate = new Float64Array(maxTokens * width);
    this.#up = new Float64Array(maxTokens * width);
    this.#part = new Float64Array(maxTokens * dim);
    this.#shared = new Float64Array(specs.some(({ shared }) => shared) ? maxTokens * dim : 0);
  }

  /**
   * Computes out = Σ weight · expert(x) over each token's experts, in order of their indices, so
   * that a token's result does not depend on the batch. The shared expert comes last. Pauses as
   * matmul() does.
   *
   * @param tokens.x [count, dim]
   * @param tokens.out [count, dim]
   */
  *run(
    spec: ExpertsSpec,
    weights: ExpertWeights,
    { x, count, out }: { x: Float64Array; count: number; out: Float64Array },
  ): Generator<void, void> {
    const { dim } = this;
    yield* matmul(weights.router, { x, tokens: count, out: this.#logits });
    const routes = this.#route(spec, weights.routerBias, count);
    if (weights.shared) {
      const { router, gate, up, down } = weights.shared;
      this.#x.set(x.subarray(0, count * dim));
      const shared = { width: spec.shared!.width, activation: spec.activation };
      yield* this.#expert(shared, [gate, up, down], count);
      for (let i = 0; i < count; i++) {
        let logit = router ? 0 : Infinity;
        for (let d = 0; router && d < dim; d++) logit += router[d]! * x[i * dim + d]!;
        const weight = 1 / (1 + Math.exp(-logit));
        for (let d = 0; d < dim; d++) this.#shared[i * dim + d] = weight * this.#part[i * dim + d]!;
      }
    }
    out.fill(0, 0, count * dim);
    for (const [expert, own] of routes.entries()) {
      if (own.length === 0) continue;
      own.forEach(({ token }, i) => {
        this.#x.set(x.subarray(token * dim, (token + 1) * dim), i * dim);
      });
      const { gates, ups, downs } = weights;
      const matrices = [gates?.[expert], ups[expert]!, downs[expert]!] as const;
      yield* this.#expert(spec, matrices, own.length);
      own.forEach(({ token, weight }, i) => {
        for (let d = 0; d < dim; d++) out[token * dim + d]! += weight * this.#part[i * dim + d]!;
      });
    }
    if (weights.shared) {
      for (let i = 0; i < count * dim; i++) out[i]! += this.#shared[i]!;
    }
  }

  /** Returns the tokens of each expert. */
  #route(
    { count, used, normalized, sigmoid }: ExpertsSpec,
    bias: Float32Array | undefined,
    tokens: number,
  ): Route[][] {
    const routes = Array.from({ length: count }, (): Route[] => []);
    for (let token = 0; token < tokens; token++) {
      const logits = this.#logits.subarray(token * count, (token + 1) * count);
      const rule = {
        count: used,
        normalized,
        ...(sigmoid && { sigmoid: { ...sigmoid, bias: bias! } }),
      };
      for (const { expert, weight } of topExperts(logits, rule)) {
        routes[expert]!.push({ token, weight });
      }
    }
    return routes;
  }

  /** part = down · (act(gate · x) · up · x), or down · act(up · x) without a gate. */
  *#expert(
    { width, activation }: Pick<ExpertsSpec, "width" | "activation">,
    [gates, ups, downs]: readonly [PackedMatrix | undefined, PackedMatrix, PackedMatrix],
    tokens: number,
  ): Generator<void, void> {
    const gate = this.#gate, up = this.#up;
    if (gates) yield* matmul(gates, { x: this.#x, tokens, out: gate });
    yield* matmul(ups, { x: this.#x, tokens, out: up });
    for (let i = 0; i < tokens * width; i++) {
      up[i] = gates ? activate(gate[i]!, activation) * up[i]! : activate(up[i]!, activation);
    }
    yield* matmul(downs, { x: up, tokens, out: this.#part });
  }
}
