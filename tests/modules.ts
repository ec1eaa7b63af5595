/** What the project's modules import and export, as parsed by the linter's parser. */

import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's folder. */
export const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** A name that a module imports from another one of the project; "*" means all names. */
export interface Import {
  /** Relative to the project's root. */
  readonly from: string;
  readonly name: string;
}

/** One TypeScript file. */
export interface Module {
  readonly imports: readonly Import[];
  /** Names that the module declares and exports. A name that is both type and value is a value. */
  readonly exports: ReadonlyMap<string, "type" | "value">;
  /** How often each identifier occurs in the module, declarations included. */
  readonly identifiers: ReadonlyMap<string, number>;
}

/** Every file of the project with one of these endings, relative to the project's root. */
export function* filesEndingIn(endings: readonly string[], folder = ""): Generator<string> {
  for (const entry of Deno.readDirSync(join(ROOT, folder))) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.name.startsWith(".") || ["node_modules", "dist"].includes(entry.name)) continue;
    if (entry.isDirectory) yield* filesEndingIn(endings, path);
    else if (endings.some((ending) => path.endsWith(ending))) yield path;
  }
}

/** All modules of the project, by path. */
export function projectModules(): Map<string, Module> {
  const modules = new Map<string, Module>();
  for (const path of filesEndingIn([".ts"])) {
    modules.set(path, readModule(path, Deno.readTextFileSync(join(ROOT, path))));
  }
  return modules;
}

/** Parses `source` as the module at `path` in the project. */
export function readModule(path: string, source: string): Module {
  const imports: Import[] = [];
  const exports = new Map<string, "type" | "value">();
  const identifiers = new Map<string, number>();
  const add = (specifier: unknown, names: readonly string[]) => {
    if (typeof specifier !== "string" || !/^\.\.?\/.*\.ts$/.test(specifier)) return;
    const from = relative(ROOT, join(ROOT, dirname(path), specifier));
    for (const name of names) imports.push({ from, name });
  };
  const visitor: Deno.lint.LintVisitor = {
    ImportDeclaration({ source, specifiers }) {
      const names = specifiers.map((s) => s.type === "ImportSpecifier" ? textOf(s.imported) : "*");
      add(source.value, names.length === 0 ? ["*"] : names);
    },
    ImportExpression({ source }) {
      if (source.type === "Literal") add(source.value, ["*"]);
    },
    ExportAllDeclaration({ source }) {
      add(source.value, ["*"]);
    },
    ExportNamedDeclaration({ source, specifiers, declaration }) {
      if (source) add(source.value, specifiers.map(({ local }) => textOf(local)));
      else for (const { exported } of specifiers) exports.set(textOf(exported), "value");
      for (const { name, kind } of declared(declaration)) exports.set(name, kind);
    },
    Identifier({ name }) {
      identifiers.set(name, (identifiers.get(name) ?? 0) + 1);
    },
  };
  const rules = { scan: { create: () => visitor } };
  Deno.lint.runPlugin({ name: "modules", rules }, path, source);
  return { imports, exports, identifiers };
}

/** Returns a name that is written as an identifier or as a string. */
function textOf(node: Deno.lint.Identifier | Deno.lint.StringLiteral): string {
  return node.type === "Identifier" ? node.name : node.value;
}

/** The names that an exported declaration declares. */
function* declared(declaration: Deno.lint.ExportNamedDeclaration["declaration"]) {
  switch (declaration?.type) {
    case "VariableDeclaration":
      for (const { id } of declaration.declarations) {
        if (id.type === "Identifier") yield { name: id.name, kind: "value" } as const;
      }
      break;
    case "FunctionDeclaration":
    case "ClassDeclaration":
    case "TSEnumDeclaration":
      if (declaration.id) yield { name: declaration.id.name, kind: "value" } as const;
      break;
    case "TSInterfaceDeclaration":
    case "TSTypeAliasDeclaration":
      yield { name: declaration.id.name, kind: "type" } as const;
  }
}
