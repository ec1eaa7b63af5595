/** Checks that the program exports nothing it does not use: test helpers belong in tests/. */

import assert from "node:assert/strict";
import { type Module, projectModules, readModule } from "./modules.ts";

/** Files whose exports may be unused, and why. */
const FREE: Readonly<Record<string, string>> = {
  "mod.ts": "the library, for other programs",
  "kernels/reference.ts": "the reference that tests compare every kernel with",
};

/** Whether a file is neither a test nor a program that generates test data. */
function isProgram(path: string): boolean {
  return !/^(tests|fixtures)\//.test(path);
}

/**
 * Returns the unused exports. A value is used if another module of the program imports it, or if
 * both its own module and a test use it. For a type, use in its own module is enough, for example
 * in the signature of another export.
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

Deno.test("unusedExports() finds exports that nothing uses, and those that only tests use", () => {
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

Deno.test("the program exports nothing it does not use", () => {
  assert.deepEqual(unusedExports(projectModules()), []);
});
