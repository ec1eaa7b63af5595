/** What a misspelled word was meant to be. */

import { distance } from "fastest-levenshtein";

/** How other programs spell commands and options. */
const FOREIGN: ReadonlyMap<string, string> = new Map([
  ["ask", "generate"],
  ["benchmark", "bench"],
  ["chat", "generate"],
  ["complete", "generate"],
  ["delete", "rm"],
  ["download", "pull"],
  ["get", "pull"],
  ["llama-bench", "bench"],
  ["ls", "list"],
  ["ppl", "perplexity"],
  ["remove", "rm"],
  ["run", "generate"],
  ["show", "inspect"],
  ["--context-length", "--ctx-size"],
  ["--hf-repo", "--model"],
  ["--hf", "--model"],
  ["--max-length", "--max-tokens"],
  ["--max-new-tokens", "--max-tokens"],
  ["--n-gpu-layers", "--device"],
  ["--n-predict", "--max-tokens"],
  ["--n-prompt", "--prompt-tokens"],
  ["--ngl", "--device"],
  ["--num-ctx", "--ctx-size"],
  ["--num-predict", "--max-tokens"],
  ["--predict", "--max-tokens"],
  ["--n-gen", "--max-tokens"],
]);

/**
 * The one of `known` that is nearest to `word`, if it is near enough: one edit for a short word, up to
 * two in five letters of a long one. The name that another program has for it is nearer, and so is a
 * word that only one begins with, or that begins with it.
 */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  const lower = word.startsWith("-") ? word.toLowerCase().replaceAll("_", "-") : word.toLowerCase();
  const all = [...known];
  const foreign = FOREIGN.get(lower);
  if (foreign !== undefined && all.includes(foreign)) return foreign;
  let best: string | undefined;
  let least = Math.min(3, Math.max(1, Math.floor(0.4 * bare(lower).length))) + 1;
  for (const candidate of all) {
    const edits = distance(lower, candidate.toLowerCase());
    if (edits < least) [best, least] = [candidate, edits];
  }
  if (best !== undefined || bare(lower).length < 3) return best;
  return only(all, (candidate) => candidate.startsWith(lower)) ??
    only(all, (candidate) => bare(candidate).length > 3 && begins(lower, candidate));
}

/** Whether `word` begins with `candidate`, give or take the last letter. */
function begins(word: string, candidate: string): boolean {
  return word.startsWith(candidate.slice(0, -1));
}

function only(words: readonly string[], is: (word: string) => boolean): string | undefined {
  const found = words.filter((word) => is(word.toLowerCase()));
  return found.length === 1 ? found[0] : undefined;
}

/** Without the dashes of an option. */
function bare(word: string): string {
  return word.replace(/^-+/, "");
}
