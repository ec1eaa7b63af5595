/** The commit in reports: that of the checkout, or the one from which the program was built. */

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Launch, readText } from "./host.ts";

/** In built programs, release/stamp.ts replaces this by the commit. */
const BUILT_FROM = "@COMMIT@";

/**
 * Returns the commit of the sources, or "unknown". In a checkout it ends with `-dirty` if the
 * sources differ from the commit, and with `-unchecked` if no launcher has checked that with git.
 */
export function commit(launch: Launch): string {
  if (!BUILT_FROM.startsWith("@")) return BUILT_FROM;
  if (!import.meta.url.startsWith("file:")) return "unknown";
  const id = checkoutCommit(dirname(dirname(fileURLToPath(import.meta.url))));
  return id === "unknown"
    ? id
    : id + ({ clean: "", dirty: "-dirty" }[launch.get("tree") ?? ""] ?? "-unchecked");
}

/**
 * Returns the commit that is checked out in `root`, read from git's files; "unknown" if there is
 * none.
 */
export function checkoutCommit(root: string): string {
  // In a linked work tree, .git is a file that contains the path of the real directory.
  const folder = /^gitdir: (.*)$/m.exec(readText(join(root, ".git")))?.[1] ?? join(root, ".git");
  const head = readText(join(folder, "HEAD")).trim();
  const [, ref] = /^ref: (.*)$/.exec(head) ?? [];
  const common = join(folder, readText(join(folder, "commondir")).trim());
  const id = ref === undefined
    ? head
    : readText(join(folder, ref)).trim() || readText(join(common, ref)).trim() ||
      new RegExp(`^([0-9a-f]+) ${ref}$`, "m").exec(readText(join(common, "packed-refs")))?.[1];
  return id?.slice(0, 12) || "unknown";
}
