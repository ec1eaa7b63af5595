/** Lists of models or files on the command line. */

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
