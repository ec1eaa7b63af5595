/**
 * Makes standalone programs of the bundle: `deno task compile [--target TARGET|all]…`. Each is Deno's
 * own runtime, which `deno compile` downloads, with the bundle in it; nothing else is read.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";

const TARGETS = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
];

/** A program has its permissions for good: all that the launcher ever grants. main.ts drops some. */
const PERMISSIONS = [
  "--no-prompt",
  "--allow-read",
  "--allow-write",
  "--allow-net",
  "--ignore-env",
  "--allow-env=" + [
    ...["TVLLM_MODEL", "TVLLM_CACHE", "HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"],
    ...["HOME", "USERPROFILE", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE"],
    ...["NO_COLOR", "FORCE_COLOR", "TERM", "DENO_WEBGPU_BACKEND"],
  ].join(","),
];

/** Compiles for one target; throws an error of one line that says why it did not. */
async function compile(bundle: string, directory: string, target: string): Promise<string> {
  const windows = target.includes("windows");
  const program = join(directory, `tvllm-${target}${windows ? ".exe" : ""}`);
  // `deno compile` writes beside the program and renames, so that a failure leaves nothing.
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["compile", "--no-config", ...PERMISSIONS, "--target", target, "-o", program, bundle],
    env: { NO_COLOR: "1" },
    stderr: "piped",
  }).output();
  if (success) return program;
  const text = new TextDecoder().decode(stderr);
  const download = /error sending request for url \((https:[^)]*denort[^)]*)\)/.exec(text)?.[1];
  const reason = download === undefined
    ? causes(text)
    : `its runtime cannot be downloaded from ${download}; make that address reachable, or name a ` +
      `denort of Deno ${Deno.version.deno} for it in DENORT_BIN`;
  throw new Error(`Cannot compile for ${target}: ${reason}`);
}

/** What Deno says of an error and its causes, on one line. */
function causes(stderr: string): string {
  const [report = ""] = stderr.split("Stack backtrace:");
  const lines = report.split("\n").map((line) => line.trim());
  return lines.filter((line) => /^(error|\d+): /.test(line))
    .map((line) => line.replace(/^(error|\d+): /, "")).join(": ");
}

async function main(args: string[]): Promise<number> {
  const host = Deno.build.target;
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { target: { type: "string", multiple: true, default: [host] } },
  });
  const [bundle, directory] = positionals as [string, string];
  const asked = values.target.flatMap((target) => target === "all" ? TARGETS : [target]);
  for (const target of asked) {
    if (TARGETS.includes(target)) continue;
    throw new TypeError(
      `Cannot compile for ${target}: the targets are ${TARGETS.join(", ")} and all`,
    );
  }
  for (const target of asked) console.log(await compile(bundle, directory, target));
  return 0;
}

try {
  Deno.exit(await main(Deno.args));
} catch (error) {
  console.error(`error: ${(error as Error).message}`);
  Deno.exit(1);
}
