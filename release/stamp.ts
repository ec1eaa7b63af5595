/**
 * Writes the commit into a program that is built from it, in the place that cli/commit.ts reserves.
 */

import { checkoutCommit } from "../cli/commit.ts";

/** Writes the commit of the checkout in `root` into the files that have a place for it. */
export async function stamp(root: string, paths: readonly string[]): Promise<void> {
  const id = await sourceCommit(root);
  for (const path of paths) {
    const text = await Deno.readTextFile(path);
    if (text.includes('"@COMMIT@"')) {
      await Deno.writeTextFile(path, text.replace('"@COMMIT@"', JSON.stringify(id)));
    }
  }
}

/**
 * The commit, with a suffix if the sources differ from it, or if git cannot tell whether they do.
 */
async function sourceCommit(root: string): Promise<string> {
  const id = checkoutCommit(root);
  if (id === "unknown") return id;
  try {
    const { success, stdout } = await new Deno.Command("git", {
      args: ["-C", root, "status", "--porcelain", "--untracked-files=no"],
      stderr: "null",
    }).output();
    if (success) return stdout.length === 0 ? id : `${id}-dirty`;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return `${id}-unchecked`;
}
