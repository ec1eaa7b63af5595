/** Makes prompts of a given length from built-in text. The same seed gives the same prompts. */

import type { BenchText } from "../targets/target.ts";

const SENTENCES = [
  "The miller's daughter walked along the river until the light was gone.",
  "On the third day a stranger came to the gate and asked for bread.",
  "Nobody in the village could say who had lit the lamp in the tower.",
  "She counted the coins twice and put one of them aside for the ferry.",
  "Beyond the hills there was a garden where it was always early spring.",
  "The old clock struck thirteen, and the fox lifted its head to listen.",
  "He wrote the answer on a leaf and let the stream carry it to the sea.",
  "When the snow melted they found the road again, and a key beside it.",
  "A ship with green sails lay in the harbour, but there was no crew on it.",
  "Every evening the baker told the same story, and every time it ended well.",
  "The bridge was too narrow for two, so each waited for the other to cross.",
  "In the smallest room of the castle slept a cat that knew all the songs.",
];

/**
 * Share of the sentences that are estimated to be missing which are added at once. It is so small
 * that there is never a sentence too many, which would change the last token.
 */
const CERTAIN_SHARE = 0.75;

/** Makes `count` prompts of `tokens` tokens. Each begins with other words than the others. */
export function makePrompts(
  encoder: Pick<BenchText, "encode">,
  { count, tokens, seed, bos = true }: {
    readonly count: number;
    readonly tokens: number;
    readonly seed: number;
    /** Whether they begin with BOS if the model expects it; default true. */
    readonly bos?: boolean;
  },
): number[][] {
  return Array.from({ length: count }, (_, i) => {
    // Begins with a number, as there are only twelve sentences to begin with.
    let text = `${seed + i}. `;
    let ids: readonly number[] = [];
    let [sentences, wanted] = [0, 1];
    for (let next = hash(seed + i); ids.length < tokens; next = hash(next)) {
      text += `${SENTENCES[next % SENTENCES.length]} `;
      // A token has at least one character.
      if (++sentences < wanted || text.length < tokens) continue;
      ids = encoder.encode(text, { bos });
      const missing = (tokens - ids.length) * sentences / Math.max(1, ids.length);
      wanted = sentences + Math.floor(CERTAIN_SHARE * missing);
    }
    return ids.slice(0, tokens);
  });
}

/**
 * Makes a prompt of random ids, as llama-bench does: the speed of models with experts depends on
 * the ids.
 */
export function randomPrompt(
  vocabSize: number,
  { tokens, seed }: { readonly tokens: number; readonly seed: number },
): number[] {
  let state = hash(seed);
  return Array.from({ length: tokens }, (_, i) => {
    state = hash(state ^ i);
    return state % vocabSize;
  });
}

// The finalizer of MurmurHash3, to choose sentences without a pattern.
function hash(n: number): number {
  let h = (n + 0x9e3779b9) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
