/** Checks the layout of the project: which part may import which, and which may print. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { filesEndingIn, type Import, projectModules, readModule, ROOT } from "./modules.ts";

const MAX_LINES = 400;

/** What each part of the source ("room") may import besides itself, as drawn in CONTRIBUTING.md. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  "kernels": [],
  "engine/errors": [],
  "engine/plural": [],
  "engine/causes": [],
  "engine/files": ["engine/errors", "kernels"],
  "engine/hub": ["engine/files", "engine/errors", "engine/causes"],
  "engine/text": ["engine/files", "engine/errors"],
  "engine/model": ["engine/files", "engine/errors", "kernels"],
  "engine/synthetic": ["engine/model", "engine/files", "kernels"],
  "engine/run": ["engine/model", "engine/text", "engine/errors", "kernels"],
  // A backend never imports another.
  "engine/gpu": ["engine/run", "engine/model", "engine/files", "engine/errors", "kernels"],
  "engine/cpu": ["engine/run", "engine/model", "engine/files", "engine/errors", "kernels"],
  "engine/reference": ["engine/run", "engine/model", "engine/files", "engine/errors", "kernels"],
  "engine": [
    "engine/gpu",
    "engine/cpu",
    "engine/reference",
    "engine/run",
    "engine/synthetic",
    "engine/model",
    "engine/text",
    "engine/hub",
    "engine/files",
    "engine/errors",
    "kernels",
  ],
  "bench/report": [],
  "bench/kernels": ["bench/report", "engine*", "kernels"],
  "client": ["engine/causes"],
  "bench/targets": ["bench/kernels", "bench/report", "client", "engine*", "kernels"],
  "bench/harness": ["bench/targets", "bench/report", "engine*", "kernels"],
  "bench/suites": [
    "bench/harness",
    "bench/targets",
    "bench/kernels",
    "bench/report",
    "engine/run",
    "engine/errors",
  ],
  "server": ["engine", "engine/run", "engine/text", "engine/errors"],
  "mod": ["bench*", "engine*", "kernels"],
  "cli": ["server", "client", "bench*", "engine*", "kernels"],
  // Programs and tests, which nothing else imports.
  "fixtures": ["*"],
  "isa": ["*"],
  "release": ["*"],
  "tests": ["*"],
};

/** Files directly in engine/ that do not belong to its facade. Each is a room of its own. */
const FILES = ["errors.ts", "causes.ts", "plural.ts"];

/**
 * Returns the room of a file: its top folder, or the top two folders in engine/ and bench/. Files
 * directly in engine/ are its facade, the room "engine".
 */
function roomOf(path: string): string {
  const [top, second] = path.split("/");
  if (second === undefined) return path.replace(/\.ts$/, "");
  if (!["engine", "bench"].includes(top!) || second === "mod.ts") return top!;
  if (top === "engine" && second.endsWith(".ts") && !FILES.includes(second)) return top;
  return `${top}/${second.replace(/\.ts$/, "")}`;
}

/** Plural forms of words, which every room may import. */
const FOR_ALL = "engine/plural";

function allows(from: string, to: string): boolean {
  if (to === FOR_ALL) return true;
  return from === to ||
    (ARROWS[from] ?? []).some((room) =>
      room === "*" || room === to || (room.endsWith("*") && to.startsWith(room.slice(0, -1)))
    );
}

/** The modules that each module imports, without repetition. */
function importGraph(): Map<string, string[]> {
  return new Map(
    [...projectModules()].map(([path, { imports }]) => [path, filesOf(imports)]),
  );
}

function filesOf(imports: readonly Import[]): string[] {
  return [...new Set(imports.map(({ from }) => from))];
}

/** Returns a chain of imports from a file back to itself, or undefined if there is none. */
function findCycle(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const way: string[] = [];
  const visit = (path: string): string[] | undefined => {
    if (way.includes(path)) return [...way.slice(way.indexOf(path)), path];
    if (done.has(path)) return undefined;
    way.push(path);
    for (const next of graph.get(path) ?? []) {
      const cycle = visit(next);
      if (cycle !== undefined) return cycle;
    }
    way.pop();
    done.add(path);
    return undefined;
  };
  for (const path of graph.keys()) {
    const cycle = visit(path);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

Deno.test("readModule() finds static, re-exported, side-effect and dynamic imports, not examples", () => {
  const source = [
    'import {\n  a,\n  b,\n} from "./a.ts";',
    'import type { C } from "../kernels/c.ts";',
    'export * from "./d.ts";',
    'import "./e.ts";',
    'const f = await import("./f.ts");',
    '/**\n * import { g } from "./g.ts";\n */',
    '// import { h } from "./h.ts";',
    'import shader from "./s.wgsl" with { type: "text" };',
    'import { x } from "commander";',
  ].join("\n");
  assert.deepEqual(filesOf(readModule("bench/x.ts", source).imports), [
    "bench/a.ts",
    "kernels/c.ts",
    "bench/d.ts",
    "bench/e.ts",
    "bench/f.ts",
  ]);
});

Deno.test("findCycle() returns the modules of a cycle", () => {
  assert.equal(findCycle(new Map([["a", ["b", "c"]], ["b", ["c"]], ["c", []]])), undefined);
  assert.deepEqual(
    findCycle(new Map([["a", ["b"]], ["b", ["c"]], ["c", ["b"]]])),
    ["b", "c", "b"],
  );
});

Deno.test("every import follows the arrows between rooms", () => {
  const upward: string[] = [];
  const graph = importGraph();
  assert.ok(graph.has("cli/main.ts"));
  for (const [path, imports] of graph) {
    assert.ok(roomOf(path) in ARROWS, `${path} is in no known room`);
    for (const target of imports) {
      if (!allows(roomOf(path), roomOf(target))) upward.push(`${path} imports ${target}`);
    }
  }
  assert.deepEqual(upward, []);
});

Deno.test("imports form no cycle", () => {
  assert.equal(findCycle(importGraph())?.join(" → "), undefined);
});

Deno.test("only cli/ prints and exits", () => {
  const printing = /\bconsole\.\w|\bDeno\.(stdout|stderr|exit|exitCode)\b|\bprocess\.(exit|std)/;
  const found: string[] = [];
  for (const path of filesEndingIn([".ts"])) {
    if (!/^(engine|bench|kernels|server|client)\/|^mod\.ts/.test(path)) continue;
    for (const [i, line] of Deno.readTextFileSync(join(ROOT, path)).split("\n").entries()) {
      const code = line.replace(/^\s*(\*|\/\*\*).*/, "").replace(/\/\/.*/, "");
      if (printing.test(code)) found.push(`${path}:${i + 1}: ${line.trim()}`);
    }
  }
  assert.deepEqual(found, []);
});

Deno.test(`no source file has more than ${MAX_LINES} lines`, () => {
  const long: string[] = [];
  for (const path of filesEndingIn([".ts", ".wgsl"])) {
    const lines = Deno.readTextFileSync(join(ROOT, path)).split("\n").length - 1;
    if (lines > MAX_LINES) long.push(`${path} has ${lines}`);
  }
  assert.deepEqual(long, []);
});
