/** Where the states of recurrent layers are in their sequences: they cannot go back. */

import type { ModelConfig } from "../model/config.ts";
import { recurrentOf } from "../model/mixers.ts";
import type { Batch } from "./runner.ts";

/** Follows what is submitted to a runner. */
export class StatePositions {
  /** By slot, how many tokens its state has seen. */
  readonly #seen = new Map<number, number>();
  readonly #recurrent: boolean;

  constructor({ layers }: Pick<ModelConfig, "layers">) {
    this.#recurrent = recurrentOf(layers).length > 0;
  }

  /**
   * Takes a batch in.
   *
   * @throws {RangeError} if a sequence continues at another position than its slot's state; it may
   * always start again at 0.
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
