/** Names of models, and lists of models or files, on the command line. */

/** What the names of models of random weights begin with. */
export const SYNTHETIC_PREFIX = "synth:";

/** Whether `text` names such a model, well or not. */
export function isSyntheticSpec(text: string): boolean {
  return text.startsWith(SYNTHETIC_PREFIX);
}

/** Collects names, several of them separated by commas unless a file is named so. */
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
