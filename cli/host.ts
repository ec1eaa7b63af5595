/** Facts for reports about the machine and the sources that need no further permissions. */

/** Facts that the launcher found before it started Deno, by name. */
export type Launch = ReadonlyMap<string, string>;

const OPTION = "--launched=";

/** Splits the launcher's facts, in front of the user's arguments, from these arguments. */
export function takeLaunch(args: readonly string[]): { launch: Launch; args: readonly string[] } {
  const [first] = args;
  if (first === undefined || !first.startsWith(OPTION)) return { launch: new Map(), args };
  const lines = first.slice(OPTION.length).split("\n").map((line) => {
    const at = line.indexOf("=");
    return [line.slice(0, at), line.slice(at + 1).trim()] as const;
  });
  return { launch: new Map(lines.filter(([, value]) => value !== "")), args: args.slice(1) };
}

/** CPU features in reports, with the names of each on Linux and macOS. */
const FEATURES: readonly (readonly [string, readonly string[]])[] = [
  ["AVX2", ["avx2"]],
  ["FMA", ["fma"]],
  ["AVX-512", ["avx512f"]],
  ["AVX512-VNNI", ["avx512_vnni"]],
  ["AVX-VNNI", ["avx_vnni"]],
  ["NEON", ["asimd", "neon"]],
  ["DOTPROD", ["asimddp"]],
  ["I8MM", ["i8mm"]],
];

// WebAssembly modules with one function: it needs SIMD, or the relaxed fused multiply-add.
const PREAMBLE = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10];
const ZERO = [65, 0, 253, 15];
const SIMD = [...PREAMBLE, 8, 1, 6, 0, ...ZERO, 11];
const RELAXED = [...PREAMBLE, 19, 1, 17, 0, ...ZERO, ...ZERO, ...ZERO, 253, 133, 2, 11];

/** Describes the machine. */
export function describeHost(launch: Launch): {
  system: string;
  processor: string;
  features: string[];
  cores: number;
  memory: number | null;
} {
  const flags = new Set(launch.get("flags")?.split(/\s+/));
  // All 64-bit ARM processors support NEON.
  if (Deno.build.arch === "aarch64") flags.add("neon");
  const memory = launch.get("memory");
  return {
    system: [distribution(), launch.get("system") ?? Deno.build.target].filter(Boolean).join(", "),
    processor: launch.get("processor") ?? "unknown",
    features: [
      ...FEATURES.filter(([, names]) => names.some((name) => flags.has(name))).map(([name]) =>
        name
      ),
      ...(WebAssembly.validate(new Uint8Array(SIMD)) ? ["WASM SIMD"] : []),
      ...(WebAssembly.validate(new Uint8Array(RELAXED)) ? ["WASM relaxed SIMD"] : []),
    ],
    cores: navigator.hardwareConcurrency,
    memory: memory === undefined ? null : 1024 * Number(memory),
  };
}

/**
 * Returns the time since the launcher started, in ms; if that is unknown, since the process did.
 */
export function startupTime(launch: Launch): {
  milliseconds: number;
  since: "launcher" | "process";
} {
  const now = performance.timeOrigin + performance.now();
  const started = Number(launch.get("started")) / 1e6;
  return started > 0 && started < now
    ? { milliseconds: now - started, since: "launcher" }
    : { milliseconds: performance.now(), since: "process" };
}

/** Returns the name of the Linux distribution; empty on other systems. */
function distribution(): string {
  const text = readText("/etc/os-release");
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text)?.[1] ?? "";
}

/** Returns the text of a file; empty if it cannot be read. */
export function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

/** Returns the command line in shell syntax for a report. API keys are replaced by KEY. */
export function commandLine(args: readonly string[]): string {
  const shown = args.map((arg, i) =>
    args[i - 1] === "--api-key" ? "KEY" : arg.replace(/^(--api-key=).*/s, "$1KEY")
  );
  const quote = (word: string) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
  return ["tvllm", ...shown].map(quote).join(" ");
}
