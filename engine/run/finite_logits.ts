/** Checks that a model's own logits are finite. If they are not, its weights are damaged. */

import { ModelFormatError } from "../errors.ts";
import type { ModelConfig } from "../model/config.ts";

/** @throws {ModelFormatError} if a logit is NaN or infinite. */
export function checkLogits(rows: readonly Float32Array[], config: ModelConfig): void {
  if (!rows.every((row) => row.every(Number.isFinite))) throw infiniteLogits(config);
}

/** Returns the error for a model that computes NaN or infinity. */
export function infiniteLogits({ name }: ModelConfig): ModelFormatError {
  return new ModelFormatError(
    `Cannot run ${name}: its logits are not finite numbers; ` +
      `its weights are damaged: download or convert it again`,
  );
}
