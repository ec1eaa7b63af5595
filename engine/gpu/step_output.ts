/** Converts the data read back after a step to its output. */

import type { ModelConfig } from "../model/config.ts";
import { checkLogits, infiniteLogits } from "../run/finite_logits.ts";
import type { Batch, StepOutput } from "../run/runner.ts";
import { logitRows } from "./step_metadata.ts";

/** The id that sample_pick writes if a logit is NaN. */
const INVALID = 0xffffffff;

/** Sorts the data read back by sequence. The batch may have changed since it was submitted. */
export type SortOutput = (
  /** [steps, maxSequences]; the ids of a step are in the order of the sequences that sample. */
  ids: Uint32Array | undefined,
  /** [logit rows, vocabSize] */
  logits: Float32Array | undefined,
) => Pick<StepOutput, "tokens" | "logits">;

/**
 * Returns a function that sorts the data, and throws a ModelFormatError if the step's logits are
 * not finite.
 */
export function outputSorter(batch: Batch, config: ModelConfig, maxSequences: number): SortOutput {
  const { sequences, steps = 1 } = batch;
  const { vocabSize } = config;
  const rows = logitRows(sequences);
  const rowsOf = sequences.map(({ slot, logits }) =>
    logits === undefined ? [] : rows.flatMap((row, index) => row.slot === slot ? [index] : [])
  );
  const sampling = sequences.map((sequence) => sequence.sampling !== undefined);
  return (ids, logits) => {
    let sampler = 0;
    const tokens = sampling.map((samples) => {
      if (!samples || ids === undefined) return [];
      const column = sampler++;
      return Array.from({ length: steps }, (_, step) => ids[step * maxSequences + column]!);
    });
    if (tokens.some((own) => own.includes(INVALID))) throw infiniteLogits(config);
    const own = rowsOf.map((rows) =>
      rows.flatMap((row) => logits?.subarray(row * vocabSize, (row + 1) * vocabSize) ?? [])
    );
    checkLogits(own.flat(), config);
    return { tokens, logits: own };
  };
}
