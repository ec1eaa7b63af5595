/** Holds that the program exports nothing that it does not use: what tests alone need is theirs. */

import assert from "node:assert/strict";
import { type Module, projectModules, readModule } from "./modules.ts";

/** Files whose exports need no user, and why. */
const FREE: Readonly<Record<string, string>> = {
  "mod.ts": "the library, for other programs",
  "kernels/reference.ts": "what tests hold every kernel to",
};

/** Neither tests nor the programs that generate their data. */
function isProgram(path: string): boolean {
  return !/^(tests|fixtures)\//.test(path);
}

/**
 * Exports without a user. A value's is another module of the program, or its own one and a test; a
 * type may also be there to be named in the signatures beside it.
 */
function unusedExports(modules: ReadonlyMap<string, Module>): string[] {
  const users = new Map<string, { program: boolean; test: boolean }>();
  for (const [path, { imports }] of modules) {
    for (const { from, name } of imports) {
      const names = name === "*" ? [...modules.get(from)?.exports.keys() ?? []] : [name];
      for (const name of names) {
        const user = users.get(`${from} ${name}`) ?? { program: false, test: false };
        if (isProgram(path)) user.program = true;
        else user.test = true;
        users.set(`${from} ${name}`, user);
      }
    }
  }
  const unused: string[] = [];
  for (const [path, { exports, identifiers }] of modules) {
    if (!isProgram(path) || path in FREE) continue;
    for (const [name, kind] of exports) {
      const { program = false, test = false } = users.get(`${path} ${name}`) ?? {};
      const isUsedHere = identifiers.get(name)! > 1;
      if (!program && !(isUsedHere && (test || kind === "type"))) unused.push(`${path}: ${name}`);
    }
  }
  return unused;
}

Deno.test("unusedExports() finds what nobody uses, and what tests alone use", () => {
  const sources = {
    "engine/a.ts": [
      "export function used() {}",
      "export const dead = 1;",
      "export function tested() {}",
      "export function inner() {}",
      "export const here = inner();",
      "export interface Named {}",
      "export function other(named: Named) {}",
      "export type Unnamed = string;",
      "export class All {}",
    ],
    "cli/b.ts": [
      'import { used as renamed, here } from "../engine/a.ts";',
      'export { other } from "../engine/a.ts";',
      'import * as everything from "./c.ts";',
    ],
    "cli/c.ts": ["export const free = 1;"],
    "tests/a_test.ts": ['import { tested, inner } from "../engine/a.ts";'],
  };
  const modules = new Map(
    Object.entries(sources).map(([path, lines]) => [path, readModule(path, lines.join("\n"))]),
  );
  assert.deepEqual(
    unusedExports(modules),
    ["dead", "tested", "Unnamed", "All"].map((name) => `engine/a.ts: ${name}`),
  );
});

Deno.test("the program exports nothing that it does not use", () => {
  assert.deepEqual(unusedExports(projectModules()), []);
});
