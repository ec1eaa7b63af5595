/** How long steps take on a device, and so into how many pieces the next one is cut. */

import type { DriverKind } from "./device.ts";

/**
 * ms that a piece should take: signals are heard after each, and are to be heard within a second, also
 * where other programs leave a software driver a third of the processor.
 */
const PIECE_MS = 150;
/** Products a second of slow devices: llvmpipe on two ordinary cores, and a small GPU. */
const PRODUCTS: Readonly<Record<DriverKind, number>> = { software: 8e9, hardware: 5e11 };

/** Steps that enter a prompt's tokens, or decode one token of each sequence. */
export type StepKind = "prompt" | "decode";

/** Measures steps. */
export class StepPace {
  readonly #msPerToken: Record<StepKind, number>;

  /** `products`: what a token multiplies with; until a step was measured, times are guessed by it. */
  constructor(driver: DriverKind, products: number) {
    const guess = 1000 * products / PRODUCTS[driver];
    this.#msPerToken = { prompt: guess, decode: guess };
  }

  /** Into how many pieces a step of so many tokens is cut. */
  pieces(kind: StepKind, tokens: number): number {
    return Math.max(1, Math.round(this.#msPerToken[kind] * tokens / PIECE_MS));
  }

  /** Takes in how long one took: half of the next guess, as another program may have disturbed it. */
  took(kind: StepKind, tokens: number, ms: number): void {
    this.#msPerToken[kind] = (this.#msPerToken[kind] + ms / tokens) / 2;
  }
}
