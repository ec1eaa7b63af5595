/**
 * Perplexity as llama.cpp's llama-perplexity computes it, to compare with its figures. Source: the
 * function perplexity() of tools/perplexity/perplexity.cpp.
 */

import { RequestError } from "../errors.ts";
import { perplexity, type ScoreOptions, type TokenScores } from "./perplexity.ts";

/** The default of llama-perplexity's option -c. */
export const DEFAULT_WINDOW = 512;

/** Options of `scoreHalves`. */
export interface HalvesOptions extends Pick<ScoreOptions, "signal" | "progress"> {
  /** Tokens per window, at least 4; default 512. */
  readonly window?: number;
}

/** How well a model predicts the second halves of a text's windows. */
export interface HalvesScore {
  /** exp of the mean negative log-probability of the tokens that count. */
  readonly perplexity: number;
  /** Standard error of the perplexity; undefined if a single token counts. */
  readonly error: number | undefined;
  /** Number of tokens that count. */
  readonly tokens: number;
  /** Number of windows that were scored, with `window` tokens each. */
  readonly windows: number;
  /** Tokens per window. */
  readonly window: number;
}

/**
 * Cuts the text into windows of equal length and scores each of them separately. Tokens after the
 * last full window are ignored. If the model expects BOS, BOS replaces the first token of each
 * window. The tokens of a window's second half count, except the first of them.
 *
 * @param score scores a text as a whole if there is room for it, else in several shorter windows
 * @throws {RequestError} if the text is shorter than a window, or there is no room for a window.
 */
export async function scoreHalves(
  score: (ids: readonly number[], options: ScoreOptions) => Promise<TokenScores>,
  { ids, bosId }: { readonly ids: readonly number[]; readonly bosId: number | undefined },
  { window = DEFAULT_WINDOW, signal, progress }: HalvesOptions,
): Promise<HalvesScore> {
  const windows = Math.floor(ids.length / window);
  if (windows < 1) {
    throw new RequestError(
      `Cannot compute perplexity: the text has ${ids.length} tokens, fewer than a window of ` +
        `${window}; use a longer text or a shorter window`,
    );
  }
  const counting = [];
  for (let i = 0; i < windows; i++) {
    const own = ids.slice(i * window, (i + 1) * window);
    if (bosId !== undefined) own[0] = bosId;
    const { positions, window: together } = await score(own, {
      ...(signal && { signal }),
      ...(progress && {
        progress: (tokens) => progress(i * window + tokens, windows * window),
      }),
    });
    if (together < window) {
      throw new RequestError(
        `Cannot compute perplexity in windows of ${window} tokens: the KV cache has room for ` +
          `${together}; use a shorter window or raise the KV memory`,
      );
    }
    counting.push(...positions.slice(Math.floor(window / 2), -1));
  }
  const { value, error } = perplexity(counting);
  return { perplexity: value, error, tokens: counting.length, windows, window };
}
