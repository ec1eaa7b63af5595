/** How well a model predicts a text: the log-probability of every token after those before it. */

import { kvBlocksHeld, kvGroups } from "../model/kv_groups.ts";
import { EventTurns } from "./event_turns.ts";
import { tablesAlone } from "./kv_blocks.ts";
import { tokenLogprobs } from "./logprobs.ts";
import { BLOCK_TOKENS, type ModelRunner, MOST_LOGIT_ROWS } from "./runner.ts";

/** The model's prediction after one token of the text. */
export interface PositionScore {
  /** ln p of the token that follows; null after the last one. */
  readonly nextLogprob: number | null;
  /** The most probable tokens that follow, best first, with ln p. */
  readonly top: readonly (readonly [number, number])[];
}

/**
 * Tokens that a window of a text of `tokens` may have: the context, or what the KV cache has room
 * for, which grows up to `maxBlocks`.
 */
export function scoringWindow(
  runner: ModelRunner,
  tokens: number,
  maxBlocks: number,
): number {
  const { config: { contextLength }, limits } = runner;
  const longest = Math.min(tokens, contextLength, maxBlocks * BLOCK_TOKENS);
  const alone = { tokens: longest, sequences: 1, entering: limits.maxBatchTokens };
  const rooms = kvGroups(runner.config).map((group, i) => {
    const wanted = kvBlocksHeld(group, alone);
    let blocks = limits.blocks[i]!;
    if (blocks < wanted && runner.growBlocks) blocks = runner.growBlocks(i, wanted);
    return blocks < wanted ? blocks * BLOCK_TOKENS : longest;
  });
  return Math.min(longest, ...rooms);
}

/**
 * Scores `ids` position by position, in windows where the text is longer: a window's first tokens
 * then see none of the text before them, as in llama.cpp's perplexity tool.
 *
 * @param windowLength tokens that the runner has room for
 * @param top alternatives to list per position
 * @param progress called with the tokens done
 */
export async function scoreTokens(
  runner: ModelRunner,
  ids: readonly number[],
  windowLength: number,
  options: { top?: number; signal?: AbortSignal; progress?: (tokens: number) => void } = {},
): Promise<PositionScore[]> {
  const { top = 0, signal, progress } = options;
  const blockTables = tablesAlone(runner.limits.blocks, windowLength);
  const chunk = Math.min(runner.limits.maxBatchTokens, MOST_LOGIT_ROWS);
  const scores: PositionScore[] = [];
  const turns = new EventTurns();
  for (let window = 0; window < ids.length; window += windowLength) {
    const end = Math.min(window + windowLength, ids.length);
    for (let first = window; first < end; first += chunk) {
      await turns.next();
      signal?.throwIfAborted();
      const tokens = ids.slice(first, Math.min(first + chunk, end));
      const step = runner.submit({
        sequences: [{ slot: 0, tokens, start: first - window, blockTables, logits: "all" }],
      });
      for (const [i, logits] of (await step.read()).logits[0]!.entries()) {
        const next = ids[first + i + 1];
        const { logprob, top: best } = tokenLogprobs(logits, next ?? 0, top);
        scores.push({
          nextLogprob: next === undefined ? null : logprob,
          top: best.map(({ id, logprob }) => [id, logprob] as const),
        });
      }
      progress?.(scores.length);
    }
  }
  return scores;
}

/** exp of the mean negative log-probability, and its standard error; NaN without a prediction. */
export function perplexity(scores: readonly PositionScore[]): { value: number; error: number } {
  const losses = scores.flatMap(({ nextLogprob }) => nextLogprob === null ? [] : [-nextLogprob]);
  const mean = losses.reduce((a, b) => a + b, 0) / losses.length;
  const variance = losses.reduce((a, b) => a + (b - mean) ** 2, 0) / (losses.length - 1);
  const value = Math.exp(mean);
  return { value, error: value * Math.sqrt(variance / losses.length) };
}
