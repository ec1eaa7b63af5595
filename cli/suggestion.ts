/** Suggestions for misspelled words. */

import { distance } from "fastest-levenshtein";

/** Commands and options of other programs, and tvllm's names for them. */
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
 * Returns the word in `known` that is meant by `word`, if there is one. First choice is tvllm's
 * name for another program's command or option. Second is the word with the fewest edits: at most
 * two in five letters, at least one and at most three. Last is the only word that begins with
 * `word`, or with which `word` begins (the last letter may differ).
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

/** Whether `word` begins with `candidate`, without the candidate's last letter. */
function begins(word: string, candidate: string): boolean {
  return word.startsWith(candidate.slice(0, -1));
}

function only(words: readonly string[], is: (word: string) => boolean): string | undefined {
  const found = words.filter((word) => is(word.toLowerCase()));
  return found.length === 1 ? found[0] : undefined;
}

/** Returns a word without the dashes of an option. */
function bare(word: string): string {
  return word.replace(/^-+/, "");
}
