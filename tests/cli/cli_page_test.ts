/** Checks that docs/cli.md lists every exit code, and all permissions of commands and models. */

import assert from "node:assert/strict";
import { EXIT } from "../../cli/exit_codes.ts";
import { parsePermissions } from "../../cli/permissions.mjs";

const PAGE = Deno.readTextFileSync(new URL("../../docs/cli.md", import.meta.url));
const ROWS = parsePermissions(
  Deno.readTextFileSync(new URL("../../cli/permissions.txt", import.meta.url)),
);

/** The lines of the section with this heading. */
function section(heading: string): string[] {
  const after = PAGE.split(`\n## ${heading}\n`)[1];
  assert.ok(after !== undefined, heading);
  return after.split("\n## ")[0]!.split("\n");
}

Deno.test("docs/cli.md lists every exit code once", () => {
  const codes = section("Exit codes").flatMap((line) => /^\| +(\d+) \|/.exec(line)?.[1] ?? []);
  assert.deepEqual(codes.map(Number), Object.values(EXIT));
});

Deno.test("docs/cli.md lists the network access, files and variables of every permission row", () => {
  const lines = section("Permissions");
  for (const { name, net, write, variables, run } of ROWS) {
    if (name === "*") {
      for (const variable of variables) {
        assert.ok(lines.slice(0, 4).join(" ").includes(`\`${variable}\``), variable);
      }
      continue;
    }
    if (!net && write.length === 0 && variables.length === 0 && !run) continue;
    // The page lists an endpoint under its option; an option's row name ends with the option.
    const word = /^https?:$/.test(name) ? "--endpoint" : name.split("+").at(-1)!;
    const rows = lines.filter((line) =>
      line.startsWith("|") && new RegExp(`[\` ]${word}\``).test(line.split("|")[1]!)
    );
    assert.ok(rows.length > 0, name);
    const cells = rows.map((row) => row.split("|").slice(2, 5).map((cell) => cell.trim()));
    assert.equal(cells.some(([network]) => network === "yes"), net, name);
    assert.equal(cells.some(([, files]) => files !== ""), write.length > 0, name);
    assert.equal(cells.some(([, files]) => files === "any file"), write === "all", name);
    for (const variable of variables) {
      assert.ok(cells.some(([, , other]) => other!.includes(`\`${variable}\``)), variable);
    }
    assert.equal(cells.some(([, , other]) => other === "start Deno"), run, name);
  }
});
