/** Measures how long steps take on a device, to decide into how many pieces to cut the next one. */

import type { DriverKind } from "./device.ts";

/**
 * Target time of a piece in ms. Signals are handled after each piece, and must be handled within a
 * second even if other programs leave a software driver only a third of the processor.
 */
const PIECE_MS = 150;
/** Multiplications per second of slow devices: llvmpipe on two ordinary cores, and a small GPU. */
const PRODUCTS: Readonly<Record<DriverKind, number>> = { software: 8e9, hardware: 5e11 };

/**
 * "prompt": steps in which tokens of a prompt enter; "decode": steps that decode one token of each
 * sequence.
 */
export type StepKind = "prompt" | "decode";

/** Measures steps. */
export class StepPace {
  readonly #msPerToken: Record<StepKind, number>;

  /**
   * `products`: multiplications per token, from which times are estimated until a step has been
   * measured.
   */
  constructor(driver: DriverKind, products: number) {
    const guess = 1000 * products / PRODUCTS[driver];
    this.#msPerToken = { prompt: guess, decode: guess };
  }

  /** Returns into how many pieces to cut a step of `tokens` tokens. */
  pieces(kind: StepKind, tokens: number): number {
    return Math.max(1, Math.round(this.#msPerToken[kind] * tokens / PIECE_MS));
  }

  /**
   * Updates the estimate with a step's measured time. It counts for only half, as another program
   * may have disturbed it.
   */
  took(kind: StepKind, tokens: number, ms: number): void {
    this.#msPerToken[kind] = (this.#msPerToken[kind] + ms / tokens) / 2;
  }
}
