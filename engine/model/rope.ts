/** Types of RoPE and its scalings, and the rotation frequencies that follow from them. */

/** How RoPE's frequencies are scaled for a longer context. */
export type RopeScaling =
  | { readonly kind: "none" }
  /** Every frequency is divided by `factor`. */
  | { readonly kind: "linear"; readonly factor: number }
  /** Low frequencies are divided by `factor`, with a ramp between the two bounds (Llama 3.1). */
  | {
    readonly kind: "llama3";
    readonly factor: number;
    readonly lowFrequencyFactor: number;
    readonly highFrequencyFactor: number;
    readonly originalContext: number;
  }
  /** A ramp by the number of rotations within the original context (YaRN, arXiv:2309.00071). */
  | {
    readonly kind: "yarn";
    readonly factor: number;
    readonly originalContext: number;
    readonly betaFast: number;
    readonly betaSlow: number;
    /** Multiplies the rotated vectors, on top of YaRN's own 0.1 ln(factor) + 1. */
    readonly attentionFactor: number;
  }
  /** Every frequency is divided by its own factor (LongRoPE, arXiv:2402.13753). */
  | {
    readonly kind: "longrope";
    /** Factors [dims / 2] for contexts up to the original one. */
    readonly short: readonly number[];
    /** Factors [dims / 2] for longer contexts. */
    readonly long: readonly number[];
    readonly originalContext: number;
    /** Length of the longest sequence that the model is run with, which decides between the two. */
    readonly context: number;
    /** Multiplies the rotated vectors. */
    readonly attentionFactor: number;
  };

/** A table of rotations, which layers may share. */
export interface RopeSpec {
  /** The frequencies are powers of this base. */
  readonly base: number;
  /** Number of dimensions at the start of a head that are rotated; even, or 0 for no RoPE. */
  readonly dims: number;
  /** Elements that rotate as a pair: (0,1),(2,3)… or (0,n/2),(1,n/2+1)… (GPT-NeoX). */
  readonly layout: "interleaved" | "half";
  /** Scaling of the frequencies for longer contexts. */
  readonly scaling: RopeScaling;
  /** Whether the frequencies are divided by the model's weight `ropeFactors` [dims / 2]. */
  readonly factors: boolean;
}

/** A query at position p is multiplied by 1 + beta · ln(1 + floor(p / context)). */
export interface TemperatureSpec {
  /** Growth rate of the queries. */
  readonly beta: number;
  /** Queries at positions below this one are not scaled. */
  readonly context: number;
}

/** At position p, pair i is rotated by p · frequencies[i] and multiplied by `magnitude`. */
export interface RopeTable {
  /** Radians per position: [dims / 2]. */
  readonly frequencies: Float64Array;
  readonly magnitude: number;
}

/**
 * Returns the frequencies base^(−2i / dims), divided by the model's own factors and then scaled.
 * Sources: RoFormer (arXiv:2104.09864); for Llama 3.1 modeling_rope_utils.py of transformers; for
 * YaRN (arXiv:2309.00071) `rope_yarn` of ggml; for LongRoPE arXiv:2402.13753 and llama.cpp, which
 * chooses the factors once, for the context that a model is run with.
 *
 * @param factors the weight `ropeFactors` [dims / 2], if the model has it
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
      // The pair (a fraction) that makes this many full rotations within the original context.
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
 * Returns the number by which YaRN's own 0.1 ln(factor) + 1 must be multiplied if a file states
 * DeepSeek's two multipliers of the logarithm: `mscale` and `mscale_all_dim`, the latter in GGUF as
 * `yarn_log_multiplier`. Source: modeling_rope_utils.py of transformers; llama-context.cpp, which
 * assumes 1 for `multiplier`.
 */
export function yarnShare(factor: number, multiplierOfAll: number, multiplier = 1): number {
  const grown = (by: number) => factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1;
  return grown(multiplier) / grown(multiplierOfAll) / (1 + 0.1 * Math.log(factor));
}

/** Returns the factor of a query at a position, in addition to the scale of its layer. */
export function temperatureAt(
  { temperature }: { readonly temperature?: TemperatureSpec | undefined },
  position: number,
): number {
  if (temperature === undefined) return 1;
  return 1 + temperature.beta * Math.log(1 + Math.floor(position / temperature.context));
}

/** Interpolates from a to b for t from 0 to 1; t is clamped to that range. */
function mix(a: number, b: number, t: number): number {
  const share = Math.min(1, Math.max(0, t));
  return a * (1 - share) + b * share;
}
