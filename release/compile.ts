/**
 * Makes standalone programs of the bundle: `deno task compile [--target TARGET|all]…`. Each is Deno's
 * own runtime, which `deno compile` downloads, with the bundle in it; nothing else is read.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { denoFlags, parsePermissions, unionOf } from "../cli/permissions.mjs";
import denoJson from "../deno.json" with { type: "json" };
import table from "../cli/permissions.txt" with { type: "text" };
import { checkDenort, TARGETS } from "./denort.ts";
import { causes, megabytes, runTask } from "./task.ts";

/** The launchers read these for tvllm and pass the results on in TVLLM_CACHE and TVLLM_DATA. */
const DIRECTORY_VARIABLES = [
  ...["HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"],
  ...["HOME", "USERPROFILE"],
];

/** A compiled program gets every permission that the launcher grants to any command; main.ts drops the rest. */
export function compiledPermissions(): string[] {
  const all = unionOf(parsePermissions(table));
  const variables = [...all.variables, ...DIRECTORY_VARIABLES];
  return denoFlags({ ...all, variables }, { cache: "", data: "" });
}

/** Compiles for one target. If it fails, it throws an error with a message of one line. */
async function compile(bundle: string, directory: string, target: string): Promise<string> {
  const denort = Deno.env.get("DENORT_BIN");
  if (denort) checkRuntime(denort, target);
  const windows = target.includes("windows");
  const program = join(directory, `tvllm-${target}${windows ? ".exe" : ""}`);
  // `deno compile` writes beside the program and renames, so that a failure leaves nothing.
  const flags = ["--no-config", ...compiledPermissions(), "--target", target, "-o", program];
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["compile", ...flags, bundle],
    env: { NO_COLOR: "1" },
    stderr: "piped",
  }).output();
  if (success) return program;
  const text = new TextDecoder().decode(stderr);
  const download = /error sending request for url \((https:[^)]*denort[^)]*)\)/.exec(text)?.[1];
  const reason = download === undefined
    ? causes(text)
    : `its runtime cannot be downloaded from ${download}; allow access to this address, or set ` +
      `DENORT_BIN to a denort of Deno ${Deno.version.deno}`;
  throw new Error(`Cannot compile for ${target}: ${reason}`);
}

/** `deno compile` accepts any file as its runtime, and then writes a program that does something else. */
function checkRuntime(path: string, target: string): void {
  try {
    checkDenort(Deno.readFileSync(path), target, Deno.version.deno);
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`Cannot compile for ${target} with DENORT_BIN=${path}: ${message}`);
  }
}

/** Starts a program once; one that does not identify itself is removed. */
async function start(program: string): Promise<void> {
  const expected = `tvllm ${denoJson.version} (Deno ${Deno.version.deno}`;
  let answer: string;
  try {
    const output = await new Deno.Command(program, { args: ["--version"] }).output();
    answer = new TextDecoder().decode(output.success ? output.stdout : output.stderr).trim();
  } catch (error) {
    answer = (error as Error).message;
  }
  if (answer.startsWith(expected)) return;
  Deno.removeSync(program);
  throw new Error(
    `Cannot use the compiled program: ${program} --version prints ${JSON.stringify(answer)} ` +
      `instead of "${expected} …"`,
  );
}

if (import.meta.main) {
  await runTask(async (args) => {
    const host = Deno.build.target;
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { target: { type: "string", multiple: true, default: [host] } },
    });
    const [bundle, directory] = positionals as [string, string];
    const known = Object.keys(TARGETS);
    const asked = values.target.flatMap((target) => target === "all" ? known : [target]);
    for (const target of asked) {
      if (known.includes(target)) continue;
      throw new TypeError(
        `Cannot compile for ${target}: the targets are ${known.join(", ")} and all`,
      );
    }
    const bundled = megabytes(Deno.statSync(bundle).size);
    for (const target of asked) {
      const program = await compile(bundle, directory, target);
      if (target === host) await start(program);
      console.log(
        `${program}: ${megabytes(Deno.statSync(program).size)}, with the runtime of Deno ` +
          `${Deno.version.deno} and tvllm ${denoJson.version}, its model and fonts (${bundled}); ` +
          (target === host ? "it starts" : "not tested, because it is for another system"),
      );
    }
  });
}
