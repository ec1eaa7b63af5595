/** By how much RoPE turns each pair of a head, for every kind of scaling that a config states. */

import type { ModelConfig } from "./config.ts";

/** At position p, pair i turns by p · frequencies[i] and is then multiplied by `magnitude`. */
export interface RopeTable {
  /** Radians per position: [ropeDims / 2]. */
  readonly frequencies: Float64Array;
  readonly magnitude: number;
}

/**
 * base^(−2i / ropeDims), divided by the model's own factors, then scaled as the config says.
 * Sources: RoFormer (arXiv:2104.09864); Llama 3.1 as Hugging Face transformers has it
 * (modeling_rope_utils.py); YaRN (arXiv:2309.00071) as ggml has it (`rope_yarn`).
 *
 * @param factors [ropeDims / 2]; the weight `ropeFactors`, if the model has it
 */
export function ropeTable(
  config: Pick<ModelConfig, "ropeBase" | "ropeDims" | "ropeScaling">,
  factors?: Float32Array,
): RopeTable {
  const { ropeBase, ropeDims, ropeScaling: scaling } = config;
  const plain = Float64Array.from(
    { length: ropeDims / 2 },
    (_, i) => ropeBase ** (-2 * i / ropeDims) / (factors?.[i] ?? 1),
  );
  switch (scaling.kind) {
    case "none":
      return { frequencies: plain, magnitude: 1 };
    case "linear":
      return { frequencies: plain.map((f) => f / scaling.factor), magnitude: 1 };
    case "llama3": {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
      const frequencies = plain.map((f) => {
        const turns = scaling.originalContext * f / (2 * Math.PI);
        return mix(f / factor, f, (turns - low) / (high - low));
      });
      return { frequencies, magnitude: 1 };
    }
    case "yarn": {
      const { factor, betaFast, betaSlow } = scaling;
      // The pair that turns `turns` times within the original context.
      const pairOf = (turns: number): number =>
        ropeDims * Math.log(scaling.originalContext / (turns * 2 * Math.PI)) /
        (2 * Math.log(ropeBase));
      const first = Math.max(0, Math.floor(pairOf(betaFast)));
      const last = Math.min(ropeDims - 1, Math.ceil(pairOf(betaSlow)));
      const frequencies = plain.map((f, i) =>
        mix(f, f / factor, (i - first) / Math.max(0.001, last - first))
      );
      return { frequencies, magnitude: scaling.attentionFactor * (1 + 0.1 * Math.log(factor)) };
    }
  }
}

/** From a to b as t goes from 0 to 1, and no further. */
function mix(a: number, b: number, t: number): number {
  const share = Math.min(1, Math.max(0, t));
  return a * (1 - share) + b * share;
}
