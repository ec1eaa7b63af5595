/** Runs the real program through its launcher, as a user's shell does. */

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's folder. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Path of the launcher, a script for sh. */
export const LAUNCHER = join(ROOT, "tvllm");

/** The result of a run. */
export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The only variables that are passed on: those that locate Deno and its downloaded packages. */
export function baseEnv(): Record<string, string> {
  const env: Record<string, string> = {
    PATH: `${dirname(Deno.execPath())}:${Deno.env.get("PATH")}`,
  };
  for (const name of ["HOME", "DENO_DIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "TMPDIR"]) {
    const value = Deno.env.get(name);
    if (value !== undefined) env[name] = value;
  }
  return env;
}

/** The path of a program on PATH, or undefined. */
export function which(program: string): string | undefined {
  return Deno.env.get("PATH")?.split(":").map((directory) => join(directory, program)).find(exists);
}

/** Debian's packages of programs, where the names differ. */
const PACKAGES: Readonly<Record<string, string>> = {
  node: "nodejs",
  npx: "npm",
  timeout: "coreutils",
};

/**
 * Returns whether one of these programs is missing, for a test's `ignore`. If so, prints to stderr
 * what is skipped, and what to install.
 */
export function lacks(what: string, ...programs: string[]): boolean {
  const missing = programs.filter((program) => which(program) === undefined);
  if (missing.length === 0) return false;
  const packages = [...new Set(missing.map((program) => PACKAGES[program] ?? program))];
  console.error(
    `skipping ${what}: ${missing.join(", ")} not found (` +
      (missing.includes("pwsh")
        ? "https://aka.ms/install-powershell)"
        : `Debian: apt-get install ${packages.join(" ")})`),
  );
  return true;
}

/** Returns whether `path` exists. */
export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Creates a symbolic link at `path`. (Deno.symlink needs permission for the whole disk.) */
export function symlink(target: string, path: string): void {
  const args = ["-c", 'ln -s "$0" "$1"', target, path];
  assert.ok(new Deno.Command("sh", { args }).outputSync().success);
}

/**
 * Calls `condition` again and again until it returns a value, and returns that. Fails after a
 * number of calls, not after a time, because calls take longer on a busy machine.
 */
export async function until<T>(
  condition: () => T | undefined | Promise<T | undefined>,
  complaint: () => string,
): Promise<T> {
  for (let looks = 0; looks < 3000; looks++) {
    const value = await condition();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  assert.fail(complaint());
}

/** Runs a program with the variables of `baseEnv` and `env`; stdin is empty unless given. */
export async function run(
  program: string,
  args: readonly string[],
  options: { stdin?: string | Uint8Array; env?: Record<string, string>; cwd?: string } = {},
): Promise<RunResult> {
  const child = new Deno.Command(program, {
    args: [...args],
    clearEnv: true,
    env: { ...baseEnv(), ...options.env },
    cwd: options.cwd ?? ROOT,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stdin = child.stdin.getWriter();
  const { stdin: input = "" } = options;
  // A program that does not read its input may end before all of it is written.
  const written = stdin.write(typeof input === "string" ? new TextEncoder().encode(input) : input)
    .then(() => stdin.close()).catch(() => {});
  const { code, stdout, stderr } = await child.output();
  await written;
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Runs `tvllm args…`. */
export function runTvllm(
  args: readonly string[],
  options: Parameters<typeof run>[2] = {},
): Promise<RunResult> {
  return run("sh", [LAUNCHER, ...args], options);
}

/** Runs `tvllm args… | reader`; the exit code is tvllm's. */
export async function pipeTvllm(args: readonly string[], reader: string): Promise<RunResult> {
  const script = `{ sh "$0" "$@"; echo $? >&3; } 3>"$CODE" | ${reader}`;
  const CODE = await Deno.makeTempFile();
  const result = await run("sh", ["-c", script, LAUNCHER, ...args], { env: { CODE } });
  return { ...result, code: Number(await Deno.readTextFile(CODE)) };
}
