/**
 * Perplexity as llama.cpp's llama-perplexity computes it, to compare with its figures. Source: the
 * function perplexity() of tools/perplexity/perplexity.cpp.
 */

import { RequestError } from "../errors.ts";
import { perplexity, type ScoreOptions, type TokenScores } from "./perplexity.ts";

/** What llama-perplexity takes where -c is not given. */
export const DEFAULT_WINDOW = 512;

/** How a text is scored. */
export interface HalvesOptions extends Pick<ScoreOptions, "signal" | "progress"> {
  /** Tokens of a window, 4 at least; default 512. */
  readonly window?: number;
}

/** How well a model predicts the second halves of a text's windows. */
export interface HalvesScore {
  /** exp of the mean negative log-probability of the tokens that count. */
  readonly perplexity: number;
  /** Its standard error. */
  readonly error: number;
  /** Tokens that count. */
  readonly tokens: number;
  /** Windows that were scored, of `window` tokens each. */
  readonly windows: number;
  /** Tokens of a window. */
  readonly window: number;
}

/**
 * Cuts the text into windows of equal length, leaving out what is left over, and scores each by itself.
 * The first token of a window gives way to BOS where the model expects that, and the tokens that count
 * are those predicted from the middle on: all but the first of the second half.
 *
 * @param score scores tokens together; what it has no room for it would cut apart
 * @throws {RequestError} if the text has less than a window, or a window has no room.
 */
export async function scoreHalves(
  score: (ids: readonly number[], options: ScoreOptions) => Promise<TokenScores>,
  { ids, bosId }: { readonly ids: readonly number[]; readonly bosId: number | undefined },
  { window = DEFAULT_WINDOW, signal, progress }: HalvesOptions,
): Promise<HalvesScore> {
  const windows = Math.floor(ids.length / window);
  if (windows < 1) {
    throw new RequestError(
      `Cannot measure a text of ${ids.length} tokens in windows of ${window}: give a longer text or ` +
        "a shorter window",
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
        `Cannot measure in windows of ${window} tokens: the KV cache has room for ${together}; ` +
          "ask for a shorter window, or give it more memory",
      );
    }
    counting.push(...positions.slice(Math.floor(window / 2), -1));
  }
  const { value, error } = perplexity(counting);
  return { perplexity: value, error, tokens: counting.length, windows, window };
}
