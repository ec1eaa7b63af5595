/** Tracks the positions that states of recurrent layers have reached: a state cannot go back. */

import type { ModelConfig } from "../model/config.ts";
import { recurrentOf } from "../model/mixers.ts";
import type { Batch } from "./runner.ts";

/** Checks the batches that are submitted to a runner. */
export class StatePositions {
  /** By slot, the number of tokens that its state includes. */
  readonly #seen = new Map<number, number>();
  readonly #recurrent: boolean;

  constructor({ layers }: Pick<ModelConfig, "layers">) {
    this.#recurrent = recurrentOf(layers).length > 0;
  }

  /**
   * Checks a batch and records its positions.
   *
   * @throws {RangeError} if a sequence continues at another position than its slot's state has
   * reached. A sequence may always start again at 0.
   */
  enter({ sequences, steps = 1 }: Batch): void {
    if (!this.#recurrent) return;
    for (const { slot, start } of sequences) {
      const seen = this.#seen.get(slot) ?? 0;
      if (start === 0 || start === seen) continue;
      throw new RangeError(
        `Cannot run the batch: slot ${slot} continues at ${start}, but its state is at ${seen}`,
      );
    }
    for (const { slot, start, tokens } of sequences) {
      this.#seen.set(slot, start + (tokens?.length ?? 1) + steps - 1);
    }
  }
}
