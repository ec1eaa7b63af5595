#!/usr/bin/env node
/**
 * Starts tvllm from Node.js. It is the `tvllm` command of the npm package, which depends on the
 * pinned Deno. In a checkout it is for systems without sh.
 */

import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, readFileSync, realpathSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, machine, release, totalmem, type } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { denoFlags, grantsOf, parseEnvironment, parsePermissions } from "./permissions.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** The oldest Deno that works: major and minor version. */
const OLDEST = [2, 9];

/**
 * Returns the command: the first argument that is neither an option nor the value of one.
 *
 * @param {readonly string[]} args
 */
export function commandOf(args) {
  return args.find((arg, i) => args[i - 1] !== "--color" && !arg.startsWith("-")) ?? "";
}

/**
 * Returns the directory of the model cache, by the same rules as the program itself.
 *
 * @param {Readonly<Record<string, string | undefined>>} env
 */
export function modelCache(env) {
  const own = env["TVLLM_CACHE"] || env["HF_HUB_CACHE"];
  if (own) return own;
  if (env["HF_HOME"]) return join(env["HF_HOME"], "hub");
  const home = env["HOME"] || env["USERPROFILE"];
  const cache = env["XDG_CACHE_HOME"] || (home && join(home, ".cache"));
  return cache ? join(cache, "huggingface", "hub") : "";
}

/**
 * Returns the directory of saved chats, by the same rules as the program itself.
 *
 * @param {Readonly<Record<string, string | undefined>>} env
 */
export function dataDirectory(env) {
  if (env["TVLLM_DATA"]) return env["TVLLM_DATA"];
  const home = env["HOME"] || env["USERPROFILE"];
  const data = env["XDG_DATA_HOME"] || (home && join(home, ".local", "share"));
  return data ? join(data, "tvllm") : "";
}

/**
 * Returns Deno's flags for these arguments.
 *
 * @param {string} table the text of permissions.txt
 * @param {readonly string[]} args
 * @param {{ env: Readonly<Record<string, string | undefined>>, deno?: string }} process the
 * environment, and the path of the Deno that tvllm may start, if any
 */
export function permissionFlags(table, args, { env, deno }) {
  const command = commandOf(args);
  // The word may be part of a prompt. main.ts parses the arguments and drops what was granted for
  // it.
  const words = [command, env["TVLLM_MODEL"] ?? "", ...args].join(" ");
  const has = (/** @type {string} */ word) =>
    word.startsWith("--")
      ? [" ", "="].some((after) => ` ${args.join(" ")} `.includes(` ${word}${after}`))
      : [" ", "=", "m"].some((before) => words.includes(before + word));
  const directories = { cache: modelCache(env), data: dataDirectory(env) };
  return denoFlags(grantsOf(parsePermissions(table), command, has), directories, deno);
}

/**
 * Returns the npm packages that may contain Deno's executable, in search order.
 *
 * @param {string} platform Node.js's name of the platform
 * @param {string} arch
 */
export function denoPackages(platform, arch) {
  return ["deno", `@deno/${platform}-${arch}${platform === "linux" ? "-glibc" : ""}`];
}

/**
 * Returns whether Deno is new enough.
 *
 * @param {string} output the output of `deno --version`
 */
export function isNewEnough(output) {
  const [, major, minor] = /^deno (\d+)\.(\d+)\./.exec(output) ?? [];
  const [oldestMajor, oldestMinor] = /** @type {[number, number]} */ (OLDEST);
  return Number(major) > oldestMajor ||
    (Number(major) === oldestMajor && Number(minor) >= oldestMinor);
}

/**
 * Returns the path of the pinned Deno that npm installed with this package, else of a Deno on PATH;
 * in a checkout, else of one from npm's cache.
 */
function findDeno() {
  const name = process.platform === "win32" ? "deno.exe" : "deno";
  let resolve = createRequire(import.meta.url).resolve;
  for (const packageName of denoPackages(process.platform, process.arch)) {
    try {
      const manifest = resolve(`${packageName}/package.json`);
      const path = join(dirname(manifest), name);
      if (isExecutable(path)) return path;
      resolve = createRequire(manifest).resolve; // The next package is a dependency of this one.
    } catch {
      // Not installed, for example because npm skips packages for other systems.
    }
  }
  for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(directory, name);
    if (directory === "" || !isExecutable(path)) continue;
    if (isNewEnough(spawnSync(path, ["--version"], { encoding: "utf8" }).stdout ?? "")) return path;
  }
  return isCheckout() ? denoOfNpx(createRequire(import.meta.url)("../package.json")) : undefined;
}

/**
 * Returns the path of a Deno that npx downloads to npm's cache, for a checkout without installed
 * packages.
 *
 * @param {{ optionalDependencies: { deno: string } }} manifest
 */
function denoOfNpx({ optionalDependencies }) {
  const code = '"console.log(Deno.execPath())"'; // Quoted for the shell, which npx needs on Windows.
  const command = `npx --yes --prefer-offline deno@${optionalDependencies.deno} eval ${code}`;
  const options = /** @type {const} */ ({
    cwd: ROOT, // An .npmrc in the current directory must not apply.
    encoding: "utf8",
    shell: true,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, npm_config_update_notifier: "false", npm_config_loglevel: "error" },
  });
  const path = spawnSync(command, options).stdout.trim().split("\n").at(-1)?.trim();
  return path !== undefined && isExecutable(path) ? path : undefined;
}

function isCheckout() {
  return statSync(join(ROOT, "cli", "main.ts"), { throwIfNoEntry: false }) !== undefined;
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * Describes the machine for reports of bench, in the format of describe_host.sh. Deno would need
 * further permissions for these facts.
 */
export function describeHost() {
  const found = {
    // Workers can have their own permissions, because permissions.mjs sets a flag for that.
    workers: "scoped",
    started: `${Math.round(performance.timeOrigin)}000000`,
    tree: isCheckout() ? workTree() : "",
    system: `${type()} ${release()} ${machine()}`,
    processor: cpus()[0]?.model ?? "",
    flags: processorFlags(),
    memory: `${Math.round(totalmem() / 1024)}`,
  };
  return Object.entries(found).filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}=${value}`).join("\n");
}

/** Returns "dirty" if the sources differ from their commit, else "clean"; empty if git fails. */
function workTree() {
  const args = ["-C", ROOT, "status", "--porcelain", "--untracked-files=no"];
  const { status, stdout } = spawnSync("git", args, { encoding: "utf8" });
  return status !== 0 ? "" : stdout === "" ? "clean" : "dirty";
}

/** Returns the system's names of the processor's features; empty except on Linux and macOS. */
function processorFlags() {
  if (process.platform === "linux") {
    const [first = ""] = readFileSync("/proc/cpuinfo", "utf8").split("\n\n");
    return /^(?:flags|Features)\s*: *(.*)$/m.exec(first)?.[1] ?? "";
  }
  if (process.platform !== "darwin") return "";
  const args = ["-n", "machdep.cpu.features", "machdep.cpu.leaf7_features"];
  return (spawnSync("sysctl", args, { encoding: "utf8" }).stdout ?? "").toLowerCase()
    .split("\n").join(" ").trim();
}

/**
 * Returns Deno's arguments. In a checkout they run the sources or a task, in the package the
 * bundle.
 *
 * @param {string} deno the path of Deno
 * @param {readonly string[]} args
 */
function denoArguments(deno, args) {
  if (isCheckout() && args[0] === "task") {
    return ["task", "--config", join(ROOT, "deno.json"), ...args.slice(1)];
  }
  const { env } = process;
  const flags = permissionFlags(readTable(), args, isCheckout() ? { env, deno } : { env });
  // Deno.execPath() can differ from the path with permission to run, because links are resolved.
  const launched = commandOf(args) === "bench"
    ? [`--launched=${describeHost()}\ndeno=${deno}`]
    : [];
  return isCheckout()
    ? [
      "run",
      `--lock=${join(ROOT, "cli", "deno.lock")}`,
      ...flags,
      join(ROOT, "cli", "main.ts"),
      ...launched,
      ...args,
    ]
    : [
      "run",
      "--no-config",
      "--no-lock",
      ...flags,
      join(ROOT, "dist", "npm", "cli", "main.js"),
      ...launched,
      ...args,
    ];
}

function readTable() {
  return readFileSync(join(ROOT, "cli", "permissions.txt"), "utf8");
}

function main() {
  const deno = findDeno();
  if (deno === undefined) {
    console.error(
      `error: Cannot find Deno ${
        OLDEST.join(".")
      } or newer: run npm install --include=optional, or install ` +
        "Deno (https://deno.com)",
    );
    process.exit(1);
  }
  const env = {
    ...parseEnvironment(readTable()),
    ...process.env,
    TVLLM_CACHE: modelCache(process.env),
    TVLLM_DATA: dataDirectory(process.env),
  };
  const child = spawn(deno, denoArguments(deno, process.argv.slice(2)), { stdio: "inherit", env });
  // Ctrl-C in a terminal reaches both processes, so it is ignored here. Other signals are passed
  // on.
  process.on("SIGINT", () => {});
  for (const signal of /** @type {const} */ (["SIGTERM", "SIGHUP"])) {
    process.on(signal, () => child.kill(signal));
  }
  child.on("error", (error) => {
    console.error(`error: Cannot run ${deno}: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => {
    if (signal !== null) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
      return;
    }
    process.exit(code ?? 1);
  });
}

// npm starts this file through a link.
const started = process.argv[1];
if (started !== undefined && realpathSync(started) === fileURLToPath(import.meta.url)) main();
