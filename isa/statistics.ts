/**
 * Parses what AMD's Vulkan driver prints for a kernel that it compiles
 * (RADV_DEBUG=asm,shaderstats).
 */

/** The start of the line before the driver's output for a kernel. */
export const MARK = "@@ isa: ";

/** Statistics of a kernel and of its hottest loop. */
export interface KernelStatistics {
  readonly instructions: number;
  readonly valu: number;
  readonly vmem: number;
  readonly branches: number;
  readonly vgprs: number;
  /** Subgroups that fit on a SIMD at the same time. */
  readonly waves: number;
  /** Bytes of workgroup memory. */
  readonly lds: number;
  /** Spilled registers, vector and scalar. */
  readonly spilled: number;
  /** Bytes of scratch memory. */
  readonly scratch: number;
  /** The loop with the most multiply-adds; undefined if there are no loops. */
  readonly loop: LoopStatistics | undefined;
}

export interface LoopStatistics {
  readonly valu: number;
  /** How many of them are multiply-adds or dot products. */
  readonly multiplyAdds: number;
  readonly vmem: number;
  /** Bytes that an invocation loads per iteration. */
  readonly loadBytes: number;
  readonly branches: number;
}

const FIELDS = {
  instructions: "Instructions",
  valu: "VALU",
  vmem: "VMEM",
  branches: "Branches",
  vgprs: "VGPRs",
  waves: "Subgroups per SIMD",
  lds: "LDS size",
  scratch: "Scratch size",
} as const;

/**
 * Parses the output for one kernel: machine code after `disasm:`, then the table of statistics.
 *
 * @throws {SyntaxError} if there is none, for example because the driver failed to compile.
 */
export function parseStatistics(output: string): KernelStatistics {
  const number = (label: string): number => {
    const found = new RegExp(`^${label}: (\\d+)$`, "m").exec(output);
    if (found === null) throw new SyntaxError(`Cannot find '${label}' in the driver's output`);
    return Number(found[1]);
  };
  const fields = Object.fromEntries(
    Object.entries(FIELDS).map(([name, label]) => [name, number(label)]),
  ) as Record<keyof typeof FIELDS, number>;
  return {
    ...fields,
    spilled: number("Spilled VGPRs") + number("Spilled SGPRs"),
    loop: hottestLoop(machineCode(output)),
  };
}

/** Returns opcodes and operands, one instruction per line, with the labels of basic blocks. */
function machineCode(output: string): string[] {
  const start = output.indexOf("\ndisasm:");
  const end = output.indexOf("\n*** SHADER STATS", start);
  if (start < 0 || end < 0) {
    throw new SyntaxError("Cannot find machine code in the driver's output");
  }
  return output.slice(start, end).split("\n").slice(2)
    .map((line) => plainLine(line.replace(/;.*/, "").trim())).filter((line) => line !== "");
}

/**
 * Converts a line of the compiler's own form to that of machine code. The driver prints this form,
 * `v1: %19:v[0] = v_add_u32 …` and `s_branch block:BB2`, if the disassembler does not support a
 * chip (gfx1150). Lines of machine code are returned unchanged.
 */
function plainLine(line: string): string {
  if (/^BB\d+$/.test(line)) return `${line}:`;
  return line.replace(/^[sv]\d+\S*: %.*? = /, "").replace("block:BB", "BB");
}

/**
 * Returns the loop with the most multiply-adds. A loop is the code between a block's label and a
 * branch back to it.
 */
function hottestLoop(code: readonly string[]): LoopStatistics | undefined {
  const blocks = new Map<string, number>();
  let hottest: LoopStatistics | undefined;
  for (const [at, line] of code.entries()) {
    const label = /^(BB\d+):$/.exec(line)?.[1];
    if (label !== undefined) blocks.set(label, at);
    const target = /^s_c?branch\w*\s+(BB\d+)/.exec(line)?.[1];
    const start = target === undefined ? undefined : blocks.get(target);
    if (start === undefined) continue;
    const loop = loopStatistics(code.slice(start, at + 1));
    if (hottest === undefined || loop.multiplyAdds > hottest.multiplyAdds) hottest = loop;
  }
  return hottest;
}

function loopStatistics(lines: readonly string[]): LoopStatistics {
  const count = (pattern: RegExp) => lines.filter((line) => pattern.test(line)).length;
  return {
    valu: count(/^v_/),
    multiplyAdds: count(/^v_(?:pk_)?(?:fma|mad|mac|dot)/),
    vmem: count(/^(?:buffer|global|flat)_/),
    loadBytes: lines.reduce((sum, line) => sum + loadBytes(line), 0),
    branches: count(/^s_c?branch/),
  };
}

// Returns the bytes that an instruction loads. The names of sizes differ between generations:
// buffer_load_dwordx4 is buffer_load_b128 since RDNA 3.
function loadBytes(line: string): number {
  const size = /^(?:buffer|global|flat)_load_(\w+)/.exec(line)?.[1];
  if (size === undefined) return 0;
  const bits = /^b(\d+)/.exec(size)?.[1];
  if (bits !== undefined) return Number(bits) / 8;
  if (size.startsWith("dword")) return 4 * Number(/x(\d)/.exec(size)?.[1] ?? 1);
  return size.includes("byte") || size.includes("8") ? 1 : 2;
}
