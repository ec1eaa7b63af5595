/** How RoPE rotates, and how fast each pair of a head does, for every scaling that files state. */

/** How the rotation frequencies of RoPE were stretched to a longer context. */
export type RopeScaling =
  | { readonly kind: "none" }
  /** Every frequency divided by `factor`. */
  | { readonly kind: "linear"; readonly factor: number }
  /** Low frequencies divided by `factor`, a ramp between the two bounds (Llama 3.1). */
  | {
    readonly kind: "llama3";
    readonly factor: number;
    readonly lowFrequencyFactor: number;
    readonly highFrequencyFactor: number;
    readonly originalContext: number;
  }
  /** A ramp by rotations within the original context (YaRN, arXiv:2309.00071). */
  | {
    readonly kind: "yarn";
    readonly factor: number;
    readonly originalContext: number;
    readonly betaFast: number;
    readonly betaSlow: number;
    /** Multiplies the rotated vectors, on top of YaRN's own 0.1 ln(factor) + 1. */
    readonly attentionFactor: number;
  }
  /** Every frequency divided by a factor of its own (LongRoPE, arXiv:2402.13753). */
  | {
    readonly kind: "longrope";
    /** [dims / 2], for contexts up to the original one. */
    readonly short: readonly number[];
    /** [dims / 2], for longer ones. */
    readonly long: readonly number[];
    readonly originalContext: number;
    /** The longest sequence that the model is run with, which decides between the two. */
    readonly context: number;
    /** Multiplies the rotated vectors. */
    readonly attentionFactor: number;
  };

/** One table of rotations; layers may share one. */
export interface RopeSpec {
  /** The frequencies are its powers. */
  readonly base: number;
  /** Dimensions of a head that are rotated, from its start on; even, and 0 where positions do not count. */
  readonly dims: number;
  /** Which pairs rotate together: (0,1),(2,3)… or (0,n/2),(1,n/2+1)… (GPT-NeoX). */
  readonly layout: "interleaved" | "half";
  /** How the frequencies were stretched. */
  readonly scaling: RopeScaling;
  /** The model's weight `ropeFactors` [dims / 2] divides the frequencies. */
  readonly factors: boolean;
}

/** A query at position p is multiplied by 1 + beta · ln(1 + floor(p / context)). */
export interface TemperatureSpec {
  /** How fast queries grow. */
  readonly beta: number;
  /** Positions up to which they do not. */
  readonly context: number;
}

/** At position p, pair i is rotated by p · frequencies[i] and multiplied by `magnitude`. */
export interface RopeTable {
  /** Radians per position: [dims / 2]. */
  readonly frequencies: Float64Array;
  readonly magnitude: number;
}

/**
 * base^(−2i / dims), divided by the model's own factors, then scaled as the config says.
 * Sources: RoFormer (arXiv:2104.09864); Llama 3.1 as Hugging Face transformers has it
 * (modeling_rope_utils.py); YaRN (arXiv:2309.00071) as ggml has it (`rope_yarn`); LongRoPE
 * (arXiv:2402.13753) as llama.cpp chooses its factors, once for the context that a model is run with.
 *
 * @param factors [dims / 2]; the weight `ropeFactors`, if the model has it
 */
export function ropeTable(
  { base, dims, scaling }: Pick<RopeSpec, "base" | "dims" | "scaling">,
  factors?: Float32Array,
): RopeTable {
  const plain = Float64Array.from(
    { length: dims / 2 },
    (_, i) => base ** (-2 * i / dims) / (factors?.[i] ?? 1),
  );
  switch (scaling.kind) {
    case "none":
      return { frequencies: plain, magnitude: 1 };
    case "linear":
      return { frequencies: plain.map((f) => f / scaling.factor), magnitude: 1 };
    case "llama3": {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
      const frequencies = plain.map((f) => {
        const rotations = scaling.originalContext * f / (2 * Math.PI);
        return mix(f / factor, f, (rotations - low) / (high - low));
      });
      return { frequencies, magnitude: 1 };
    }
    case "yarn": {
      const { factor, betaFast, betaSlow } = scaling;
      // The pair that makes so many full rotations within the original context.
      const pairOf = (rotations: number): number =>
        dims * Math.log(scaling.originalContext / (rotations * 2 * Math.PI)) /
        (2 * Math.log(base));
      const first = Math.max(0, Math.floor(pairOf(betaFast)));
      const last = Math.min(dims - 1, Math.ceil(pairOf(betaSlow)));
      const frequencies = plain.map((f, i) =>
        mix(f, f / factor, (i - first) / Math.max(0.001, last - first))
      );
      return { frequencies, magnitude: scaling.attentionFactor * (1 + 0.1 * Math.log(factor)) };
    }
    case "longrope": {
      const { short, long, context, originalContext, attentionFactor } = scaling;
      const own = context > originalContext ? long : short;
      return { frequencies: plain.map((f, i) => f / own[i]!), magnitude: attentionFactor };
    }
  }
}

/**
 * The share of YaRN's own 0.1 ln(factor) + 1 that is left where a file states DeepSeek's two multipliers
 * of the logarithm (`mscale` and `mscale_all_dim`, in GGUF `yarn_log_multiplier`). Source:
 * modeling_rope_utils.py of transformers; llama-context.cpp, whose `multiplier` is 1.
 */
export function yarnShare(factor: number, multiplierOfAll: number, multiplier = 1): number {
  const grown = (by: number) => factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1;
  return grown(multiplier) / grown(multiplierOfAll) / (1 + 0.1 * Math.log(factor));
}

/** What multiplies a query at a position, beside the scale of its layer. */
export function temperatureAt(
  { temperature }: { readonly temperature?: TemperatureSpec | undefined },
  position: number,
): number {
  if (temperature === undefined) return 1;
  return 1 + temperature.beta * Math.log(1 + Math.floor(position / temperature.context));
}

/** From a to b as t goes from 0 to 1, and no further. */
function mix(a: number, b: number, t: number): number {
  const share = Math.min(1, Math.max(0, t));
  return a * (1 - share) + b * share;
}
