/** How well a model predicts a text: the log-probability of every token after those before it. */

import { EventLoop } from "./event_loop.ts";
import { tablesOver } from "./kv_blocks.ts";
import { tokenLogprobs } from "./logprobs.ts";
import { type ModelRunner, MOST_LOGIT_ROWS } from "./runner.ts";

/** The model's prediction after one token of the text. */
export interface PositionScore {
  /** ln p of the token that follows; null after the last one. */
  readonly nextLogprob: number | null;
  /** The most probable tokens that follow, best first, with ln p. */
  readonly top: readonly (readonly [number, number])[];
}

/** What to note while a text is scored. */
export interface ScoreOptions {
  /** Alternatives to list at each position, default none. */
  readonly top?: number;
  /** Ends it early when it is aborted. */
  readonly signal?: AbortSignal;
  /** Called with the tokens done, of how many. */
  readonly progress?: (tokens: number, total: number) => void;
}

/** The scores of a text. */
export interface TokenScores {
  /** One for each token of the text. */
  readonly positions: readonly PositionScore[];
  /** Tokens that were scored together: a longer text is scored in windows of so many. */
  readonly window: number;
}

/** Where on the device a text is scored: nothing else uses it meanwhile. */
export interface ScoringPlace {
  readonly slot: number;
  /** Tokens that there is room for. */
  readonly tokens: number;
  /** By group of layers, as `tablesOver` takes them. */
  readonly blocks: readonly (readonly number[])[];
}

/** Tokens of a text that enter the runner in a step. */
export function scoringChunk({ limits }: ModelRunner): number {
  return Math.min(limits.maxBatchTokens, MOST_LOGIT_ROWS);
}

/**
 * Scores `ids` position by position, in windows where the text is longer than the room: a window's
 * first tokens then see none of the text before them, as in llama.cpp's perplexity tool.
 */
export async function scoreTokens(
  runner: ModelRunner,
  ids: readonly number[],
  { slot, tokens: room, blocks, top = 0, signal, progress }: ScoringPlace & ScoreOptions,
): Promise<TokenScores> {
  const windowLength = Math.min(ids.length, room);
  const chunk = scoringChunk(runner);
  const positions: PositionScore[] = [];
  const eventLoop = new EventLoop();
  for (let window = 0; window < ids.length; window += windowLength) {
    const end = Math.min(window + windowLength, ids.length);
    for (let first = window; first < end; first += chunk) {
      await eventLoop.yield();
      signal?.throwIfAborted();
      const tokens = ids.slice(first, Math.min(first + chunk, end));
      const start = first - window;
      const blockTables = tablesOver(blocks, start + tokens.length);
      const row = { slot, tokens, start, blockTables, logits: "all" } as const;
      const step = runner.submit({
        sequences: [start === 0 ? { ...row, prior: [] } : row],
      });
      const output = await step.read();
      signal?.throwIfAborted(); // The step may have been abandoned.
      for (const [i, logits] of output.logits[0]!.entries()) {
        const next = ids[first + i + 1];
        const { logprob, top: best } = tokenLogprobs(logits, next ?? 0, top);
        positions.push({
          nextLogprob: next === undefined ? null : logprob,
          top: best.map(({ id, logprob }) => [id, logprob] as const),
        });
      }
      progress?.(positions.length, ids.length);
    }
  }
  return { positions, window: windowLength };
}

/** exp of the mean negative log-probability, and its standard error; NaN without a prediction. */
export function perplexity(scores: readonly PositionScore[]): { value: number; error: number } {
  const losses = scores.flatMap(({ nextLogprob }) => nextLogprob === null ? [] : [-nextLogprob]);
  const mean = losses.reduce((a, b) => a + b, 0) / losses.length;
  const variance = losses.reduce((a, b) => a + (b - mean) ** 2, 0) / (losses.length - 1);
  const value = Math.exp(mean);
  return { value, error: value * Math.sqrt(variance / losses.length) };
}
