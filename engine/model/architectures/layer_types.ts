/** Reads the kinds of layers from config.json for models in which two kinds alternate. */

import type { MetadataReader } from "../metadata_reader.ts";

/**
 * Returns the period of `layer_types`: the last layer of every period sees all tokens, the others
 * are of the kind `other`. If no layer sees all tokens, returns the number of layers + 1.
 */
export function periodOf(json: MetadataReader, other: string): number {
  const kinds = json.texts("layer_types");
  const first = kinds.indexOf("full_attention");
  const period = first < 0 ? kinds.length + 1 : first + 1;
  const regular = kinds.every((kind, i) =>
    kind === ((i + 1) % period === 0 ? "full_attention" : other)
  );
  if (!regular) {
    throw json.unsupported(
      "the pattern of layer_types does not repeat; use a model whose layers alternate regularly",
    );
  }
  return period;
}
