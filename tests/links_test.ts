/** Checks that links between the project's pages lead to files and headings that exist. */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FOLDERS = [".", "docs", "docs/bench", "fixtures"];

const PAGES = FOLDERS.flatMap((folder) =>
  [...Deno.readDirSync(join(ROOT, folder))]
    .filter(({ name }) => name.endsWith(".md"))
    .map(({ name }) => join(folder, name))
);

/** The text of a page without its code blocks. */
function textOf(page: string): string {
  return Deno.readTextFileSync(join(ROOT, page)).replaceAll(/^```.*?^```/gms, "");
}

/** The anchors of a page's headings, formed from their text as GitHub does it. */
function anchorsOf(page: string): Set<string> {
  const headings = [...textOf(page).matchAll(/^#+ (.*)$/gm)].map(([, text]) => text!);
  return new Set(
    headings.map((text) =>
      text.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
    ),
  );
}

Deno.test("every link to a file or a heading of the project has a target", () => {
  let links = 0;
  for (const page of PAGES) {
    for (const [, target] of textOf(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      const [path, anchor] = target!.split("#");
      const file = path ? join(dirname(page), path) : page;
      assert.ok(Deno.statSync(join(ROOT, file)), `${page}: ${target}`);
      if (anchor) assert.ok(anchorsOf(file).has(anchor), `${page}: ${target}`);
      links++;
    }
  }
  assert.ok(links > 100, `${links} links`);
});
