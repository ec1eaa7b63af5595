/** The commit that a report names: of the checkout, or the one that a program was built from. */

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Launch, readText } from "./host.ts";

/** release/stamp.ts puts the commit here in programs that it builds. */
const BUILT_FROM = "@COMMIT@";

/**
 * The commit of the sources, `-dirty` if they differ from it, `-unchecked` if nobody looked, as the
 * launcher does with git; "unknown" if there is none.
 */
export function commit(launch: Launch): string {
  if (!BUILT_FROM.startsWith("@")) return BUILT_FROM;
  if (!import.meta.url.startsWith("file:")) return "unknown";
  const id = checkoutCommit(dirname(dirname(fileURLToPath(import.meta.url))));
  return id === "unknown"
    ? id
    : id + ({ clean: "", dirty: "-dirty" }[launch.get("tree") ?? ""] ?? "-unchecked");
}

/** The commit that is checked out in `root`, read as git keeps it; "unknown" if it is no checkout. */
export function checkoutCommit(root: string): string {
  // In a linked work tree .git is a file that names its folder.
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
