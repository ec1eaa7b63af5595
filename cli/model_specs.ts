/** Parses names of models, and lists of models or files, on the command line. */

/** The prefix of the names of models with random weights. */
export const SYNTHETIC_PREFIX = "synth:";

/** Returns whether `text` has the prefix of such a model; the rest of the name may be invalid. */
export function isSyntheticSpec(text: string): boolean {
  return text.startsWith(SYNTHETIC_PREFIX);
}

/**
 * Appends the names in `text` to `earlier`. It is split at commas unless a file of this name
 * exists.
 */
export function modelSpecs(text: string, earlier: readonly string[] = []): readonly string[] {
  const specs = isFile(text) ? [text] : text.split(",").filter((spec) => spec !== "");
  return [...earlier, ...specs];
}

function isFile(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
