/** Shared by the programs in this folder. */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import packageJson from "../package.json" with { type: "json" };
import { stamp } from "./stamp.ts";

/** The project's folder. */
export const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** The version of Deno that the project is tested with and that its programs contain. */
export const DENO_VERSION: string = packageJson.optionalDependencies.deno;

/** Runs a program's main function; an error is printed on one line and gives exit code 1. */
export async function runTask(main: (args: readonly string[]) => unknown): Promise<never> {
  try {
    await main(Deno.args);
  } catch (error) {
    console.error(`error: ${(error as Error).message}`);
    Deno.exit(1);
  }
  Deno.exit(0);
}

/** Runs Deno with the whole environment and returns its stdout. */
export async function runDeno(args: readonly string[], what: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`Cannot ${what}: ${causes(decoder.decode(stderr))}`);
  return decoder.decode(stdout);
}

/**
 * Bundles modules with all packages into several files in an empty directory. Code that modules
 * share, or import only when needed, is in separate files.
 */
export async function bundleSplit(directory: string, modules: readonly string[]): Promise<void> {
  await Deno.remove(directory, { recursive: true }).catch(() => {});
  const flags = ["--lock=cli/deno.lock", "--frozen", "--code-splitting", "--outdir", directory];
  await runDeno(["bundle", ...flags, ...modules], "bundle");
  const names = await readdir(directory, { recursive: true });
  const scripts = names.filter((name) => name.endsWith(".js"));
  await stamp(ROOT, scripts.map((name) => join(directory, name)));
}

/** Deno's message about an error and its causes, on one line. */
export function causes(stderr: string): string {
  const [report = ""] = stderr.split("Stack backtrace:");
  const lines = report.split("\n").map((line) => line.trim());
  const said = lines.filter((line) => /^(error|\d+): /.test(line))
    .map((line) => line.replace(/^(error|\d+): /, ""));
  return said.length > 0 ? said.join(": ") : lines.filter((line) => line !== "").join("; ");
}

/** The packages in a lock file. */
interface Lock {
  /** Keys of the packages that the project itself imports. */
  readonly direct: ReadonlySet<string>;
  /** SHA-512 of each package's tarball, in base64, by key. */
  readonly hashes: Readonly<Record<string, string>>;
}

/** Reads one of the project's lock files. */
export function readLock(path: string): Lock {
  const { specifiers, npm } = JSON.parse(Deno.readTextFileSync(join(ROOT, path)));
  // "npm:NAME@RANGE": "VERSION", and the same package is "NAME@VERSION".
  const direct = Object.entries<string>(specifiers).map(([specifier, version]) =>
    `${specifier.slice("npm:".length, specifier.lastIndexOf("@"))}@${version}`
  );
  const hashes = Object.entries<{ readonly integrity: string }>(npm).map(([key, { integrity }]) =>
    [key, integrity.replace(/^sha512-/, "")] as const
  );
  return { direct: new Set(direct), hashes: Object.fromEntries(hashes) };
}

/** A size for humans. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
