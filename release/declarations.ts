/** The library's type declarations for the npm package: Deno does not compile TypeScript in packages. */

import { dirname, join, relative } from "node:path";
import ts from "typescript";
import { ROOT, runDeno } from "./task.ts";

/** Imported texts. `deno transpile --declaration` fails on them, so TypeScript is called directly. */
const TEXTS = ["*.wgsl", "*.txt", "*.gguf"].map((pattern) =>
  `declare module "${pattern}" { const content: any; export default content; }`
);

/**
 * The declarations of these modules and of all modules that these refer to, by path (ending in .d.ts)
 * relative to the project.
 *
 * @param entries modules of the project
 */
export async function declarationsOf(entries: readonly string[]): Promise<Map<string, string>> {
  const all = await declareAll(entries);
  const needed = new Map<string, string>();
  const add = (path: string) => {
    const text = all.get(path);
    if (text === undefined) {
      throw new Error(`Cannot declare the library's types: ${path} is missing`);
    }
    if (needed.has(path)) return;
    // A declaration file is found under the name of its JavaScript module.
    needed.set(path, text.replaceAll(/(["']\.{1,2}\/[^"'\n]+)\.ts(["'])/g, "$1.js$2"));
    for (
      const [, specifier] of text.matchAll(/(?:from|import\()\s*["'](\.{1,2}\/[^"']+)\.ts["']/g)
    ) {
      add(`${join(dirname(path), specifier!)}.d.ts`);
    }
  };
  for (const entry of entries) add(entry.replace(/\.ts$/, ".d.ts"));
  return needed;
}

/** The declarations of all modules that these import. */
async function declareAll(entries: readonly string[]): Promise<Map<string, string>> {
  const lib = join(ROOT, "deno.d.ts");
  const sources = new Map([
    // Its references to TypeScript's own libraries are removed: the option `lib` names them.
    [lib, (await runDeno(["types"], "list Deno's types")).replaceAll(/^\/\/\/ <reference.*/gm, "")],
    [join(ROOT, "texts.d.ts"), TEXTS.join("\n")],
  ]);
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ESNext,
    module: ts.ModuleKind.Preserve,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    lib: ["lib.esnext.d.ts"],
    types: [],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    allowImportingTsExtensions: true,
    declaration: true,
    emitDeclarationOnly: true,
  };
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists } = host;
  host.fileExists = (path) => sources.has(path) || fileExists(path);
  host.readFile = (path) => sources.get(path) ?? readFile(path);
  host.getSourceFile = (path, options) => {
    const text = host.readFile(path);
    return text === undefined ? undefined : ts.createSourceFile(path, text, options);
  };
  const roots = entries.map((entry) => join(ROOT, entry));
  const program = ts.createProgram([...roots, ...sources.keys()], options, host);
  const declarations = new Map<string, string>();
  program.emit(undefined, (path, text) => declarations.set(relative(ROOT, path), text));
  return declarations;
}
