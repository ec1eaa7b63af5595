/** Scores how well a model predicts a text: each token's log-probability given those before it. */

import { RequestError } from "../errors.ts";
import { checkSignal } from "./check_signal.ts";
import { EventLoop } from "./event_loop.ts";
import { tablesOver } from "./kv_blocks.ts";
import { tokenLogprobs } from "./logprobs.ts";
import { type ModelRunner, MOST_LOGIT_ROWS } from "./runner.ts";

/** The model's prediction after one token of the text. */
export interface PositionScore {
  /** ln p of the text's next token; null after the last token. */
  readonly nextLogprob: number | null;
  /** The most probable next tokens, best first: [id, ln p]. */
  readonly top: readonly (readonly [number, number])[];
}

/** Options for scoring a text. */
export interface ScoreOptions {
  /** Number of alternatives to list at each position, default 0. */
  readonly top?: number;
  /** Ends the scoring early when it is aborted. */
  readonly signal?: AbortSignal;
  /** Called with the number of tokens scored so far and in total. */
  readonly progress?: (tokens: number, total: number) => void;
}

/** The scores of a text. */
export interface TokenScores {
  /** One score for each token of the text. */
  readonly positions: readonly PositionScore[];
  /** Tokens that were scored together. A longer text is scored in windows of this length. */
  readonly window: number;
}

/** The slot and blocks in which a text is scored; nothing else may use them meanwhile. */
export interface ScoringPlace {
  readonly slot: number;
  /** Number of tokens for which there is room. */
  readonly tokens: number;
  /** Numbers of the blocks, by group of layers; see `tablesOver`. */
  readonly blocks: readonly (readonly number[])[];
}

/** @throws {RequestError} if an option is invalid. */
export function checkScoreOptions({ top = 0, signal }: ScoreOptions): void {
  checkSignal(signal, "Cannot score the text");
  if (Number.isInteger(top) && top >= 0) return;
  throw new RequestError(
    `Cannot score the text: top is ${top}, not a whole number of at least 0`,
    { option: "top" },
  );
}

/** Returns how many tokens of a text enter the runner in one step. */
export function scoringChunk({ limits }: ModelRunner): number {
  return Math.min(limits.maxBatchTokens, MOST_LOGIT_ROWS);
}

/**
 * Scores `ids` position by position. A text that is longer than the room is scored in windows. A
 * window's tokens do not attend to the text before it, as in llama.cpp's perplexity tool.
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
      signal?.throwIfAborted(); // If it was aborted, the step may have no results.
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

/**
 * Returns exp of the mean negative log-probability, and its standard error. A single score shows no
 * spread, so it has no error.
 */
export function perplexity(
  scores: readonly PositionScore[],
): { value: number; error: number | undefined } {
  const losses = scores.flatMap(({ nextLogprob }) => nextLogprob === null ? [] : [-nextLogprob]);
  const mean = losses.reduce((a, b) => a + b, 0) / losses.length;
  const value = Math.exp(mean);
  if (losses.length < 2) return { value, error: undefined };
  const variance = losses.reduce((a, b) => a + (b - mean) ** 2, 0) / (losses.length - 1);
  return { value, error: value * Math.sqrt(variance / losses.length) };
}
