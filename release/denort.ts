/** Recognizes denort, the runtime that `deno compile` adds a program to. */

import { Buffer } from "node:buffer";

/** A target of `deno compile`, and how its executables begin. */
interface Target {
  readonly format: "ELF" | "Mach-O" | "PE";
  readonly machine: "x86-64" | "arm64";
}

/** The targets, under Deno's names. */
export const TARGETS: Readonly<Record<string, Target>> = {
  "x86_64-unknown-linux-gnu": { format: "ELF", machine: "x86-64" },
  "aarch64-unknown-linux-gnu": { format: "ELF", machine: "arm64" },
  "x86_64-apple-darwin": { format: "Mach-O", machine: "x86-64" },
  "aarch64-apple-darwin": { format: "Mach-O", machine: "arm64" },
  "x86_64-pc-windows-msvc": { format: "PE", machine: "x86-64" },
};

/** The numbers of the machines in each format: `e_machine`, `cputype`, `Machine`. */
const MACHINES = {
  "ELF": { 62: "x86-64", 183: "arm64" },
  "Mach-O": { 0x0100_0007: "x86-64", 0x0100_000c: "arm64" },
  "PE": { 0x8664: "x86-64", 0xaa64: "arm64" },
} as const;

/**
 * The error of a denort that contains no program (Deno's cli/rt/binary.rs). No other executable has this
 * text: Deno itself writes such programs but does not read them.
 */
const MARK = "Could not find standalone binary section";

/** The format and machine of an executable; undefined if it is not one we know. */
export function executableKind(bytes: Uint8Array): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u32 = (at: number) => at + 4 <= bytes.length ? view.getUint32(at, true) : 0;
  const kind = (format: keyof typeof MACHINES, machine: number) => {
    const name = (MACHINES[format] as Record<number, string>)[machine];
    return `${format} for ${name ?? `machine 0x${machine.toString(16)}`}`;
  };
  // 64-bit little-endian ELF; 64-bit Mach-O; PE after the stub for DOS.
  if (u32(0) === 0x464c_457f && bytes[4] === 2 && bytes[5] === 1) {
    return kind("ELF", u32(18) & 0xffff);
  }
  if (u32(0) === 0xfeed_facf) return kind("Mach-O", u32(4));
  if ((u32(0) & 0xffff) === 0x5a4d && u32(u32(0x3c)) === 0x0000_4550) {
    return kind("PE", u32(u32(0x3c) + 4) & 0xffff);
  }
  return undefined;
}

/**
 * @param version the version of Deno
 * @throws {Error} that says why these bytes are not the denort of this version for `target`.
 */
export function checkDenort(bytes: Uint8Array, target: string, version: string): void {
  const { format, machine } = TARGETS[target]!;
  const wanted = `${format} for ${machine}`;
  const kind = executableKind(bytes);
  if (kind === undefined) throw new Error("it is not a Linux, macOS or Windows executable");
  if (kind !== wanted) throw new Error(`it is ${kind}, but the target needs ${wanted}`);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!buffer.includes(MARK)) {
    throw new Error("it is not denort, Deno's runtime for compiled programs");
  }
  // The user agent of its requests.
  if (!buffer.includes(`Deno/${version}`)) {
    throw new Error(`it is not from Deno ${version}, which compiles`);
  }
}
