/**
 * Builds one file that runs on Linux with nothing else installed: `deno task standalone [--target
 * TARGET|all]…`. The file is a shell script (standalone.sh) followed by npm's Deno for the target and
 * tvllm's program, both compressed with gzip, which every system can unpack.
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import denoJson from "../deno.json" with { type: "json" };
import describeHost from "../cli/describe_host.sh" with { type: "text" };
import launch from "../cli/launch.sh" with { type: "text" };
import permissions from "../cli/permissions.txt" with { type: "text" };
import template from "./standalone.sh" with { type: "text" };
import { bundleSplit, DENO_VERSION, megabytes, ROOT, runDeno, runTask } from "./task.ts";

/** The npm packages that contain Deno's executable, and the machine of each. */
const TARGETS: Readonly<Record<string, { npm: string; machine: string }>> = {
  "x86_64-unknown-linux-gnu": { npm: "@deno/linux-x64-glibc", machine: "x86-64" },
  "aarch64-unknown-linux-gnu": { npm: "@deno/linux-arm64-glibc", machine: "arm64" },
};

/** Offset of the compressed parts in the file. */
export const HEADER_BYTES = 32768;

/** A compressed part of the file. */
interface Part {
  readonly bytes: number;
  readonly sha256: string;
  readonly packed: Uint8Array;
}

function pack(bytes: Uint8Array): Part {
  return {
    bytes: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    packed: gzipSync(bytes, { level: 9 }),
  };
}

/** Deno for a target, downloaded from npm by Deno itself, which verifies it against release/deno.lock. */
async function denoFor(target: string): Promise<Uint8Array> {
  const specifier = `npm:${TARGETS[target]!.npm}@${DENO_VERSION}`;
  const flags = ["--no-config", `--lock=${join(ROOT, "release/deno.lock")}`, "--frozen"];
  await runDeno(["cache", ...flags, specifier], `get ${specifier}`);
  const info = JSON.parse(await runDeno(["info", "--json", ...flags, specifier], "find it"));
  const { localPath } = info.npmPackages[specifier.slice("npm:".length)];
  return Deno.readFileSync(join(localPath, "deno"));
}

/** tvllm's program: its files one after the other. */
interface Program extends Part {
  readonly files: readonly {
    readonly name: string;
    readonly start: number;
    readonly bytes: number;
  }[];
}

/**
 * Bundles the program into several files, so that code such as that of charts is loaded only when
 * needed.
 */
async function bundleProgram(directory: string): Promise<Program> {
  await bundleSplit(directory, ["cli/main.ts"]);
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
  const files: Program["files"][number][] = [];
  const pieces = names.map((name) => {
    const bytes = Deno.readFileSync(join(directory, name));
    const last = files.at(-1);
    files.push({ name, start: last ? last.start + last.bytes : 1, bytes: bytes.length });
    return bytes;
  });
  return { ...pack(Buffer.concat(pieces)), files };
}

/** The script with its placeholders filled in. */
function header(target: string, deno: Part, program: Program): Uint8Array {
  const values: Readonly<Record<string, string | number>> = {
    VERSION: denoJson.version,
    MACHINE: TARGETS[target]!.machine,
    DENO_VERSION,
    LAUNCH: launch.trim(),
    DESCRIBE_HOST: describeHost.trim(),
    PERMISSIONS: permissions.trim(),
    // Each build unpacks into a directory of its own.
    NAME: `standalone-${deno.sha256.slice(0, 8)}${program.sha256.slice(0, 8)}`,
    UNPACKED: megabytes(deno.bytes + program.bytes),
    BYTES: deno.bytes + program.bytes,
    DENO_SHA256: deno.sha256,
    DENO_START: HEADER_BYTES + 1,
    DENO_PACKED: deno.packed.length,
    PROGRAM_SHA256: program.sha256,
    PROGRAM_START: HEADER_BYTES + deno.packed.length + 1,
    FILES: program.files.map(({ name }) => name).join(" "),
    TABLE: program.files.map(({ name, start, bytes }) => `${name} ${start} ${bytes}`).join("\n"),
  };
  const script = template.replaceAll(/@([A-Z0-9_]+)@/g, (_, name) => `${values[name]}`);
  const bytes = new Uint8Array(HEADER_BYTES).fill(10); // newlines, which the shell never reaches
  const { read } = new TextEncoder().encodeInto(script, bytes);
  if (read < script.length) throw new Error("Cannot build the file: its script is too long");
  return bytes;
}

if (import.meta.main) {
  await runTask(async (args) => {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { target: { type: "string", multiple: true, default: ["all"] } },
    });
    const [directory] = positionals as [string];
    const known = Object.keys(TARGETS);
    const asked = values.target.flatMap((target) => target === "all" ? known : [target]);
    const unknown = asked.find((target) => !known.includes(target));
    if (unknown !== undefined) {
      throw new TypeError(
        `Cannot build a file for ${unknown}: the targets are ${known.join(", ")} and all`,
      );
    }
    const program = await bundleProgram(join(directory, "standalone"));
    for (const target of asked) {
      const deno = pack(await denoFor(target));
      const path = join(directory, `tvllm-standalone-${target}`);
      const parts = [header(target, deno, program), deno.packed, program.packed];
      await Deno.writeFile(path, ReadableStream.from(parts), { mode: 0o755 });
      console.log(
        `${path}: ${megabytes(Deno.statSync(path).size)}: Deno ${DENO_VERSION} and tvllm ` +
          `${denoJson.version}, ${megabytes(deno.bytes + program.bytes)} when unpacked`,
      );
    }
  });
}
