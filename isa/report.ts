/**
 * Turns the compiler's statistics of all kernels for one chip into figures and a table, and
 * compares them with the golden file.
 */

import { markdownTable } from "markdown-table";
import { type KernelStatistics, MARK, parseStatistics } from "./statistics.ts";
import type { Variant } from "./variants.ts";

/** The figures of a kernel, as in tables and golden files. */
export interface Figures {
  readonly instructions: number;
  /**
   * Vector instructions, and bytes of weights, in the loop for each weight; 0 for kernels without
   * weights.
   */
  readonly valuPerWeight: number;
  readonly bytesPerWeight: number;
  /** Memory instructions of the loop, or of the whole kernel if it has no loop. */
  readonly vmem: number;
  /** Percentage of multiply-adds among the vector instructions of the loop. */
  readonly multiplyAdds: number;
  readonly branches: number;
  readonly vgprs: number;
  readonly waves: number;
  readonly lds: number;
  readonly spilled: number;
  readonly scratch: number;
}

/**
 * Parses the output of compile.ts while it arrives. It is about 100 MB for a chip, so only the
 * figures are kept.
 */
export class FiguresReader {
  readonly figures = new Map<string, Figures>();
  readonly #variants: ReadonlyMap<string, Variant>;
  #text = "";

  constructor(variants: readonly Variant[]) {
    this.#variants = new Map(variants.map((variant) => [variant.name, variant]));
  }

  /**
   * The text not parsed yet. After the last line, this is the error message of a program that
   * failed.
   */
  get rest(): string {
    return this.#text;
  }

  /** @throws {SyntaxError} if the driver printed nothing for a kernel. */
  push(text: string): void {
    this.#text += text;
    // The output for a kernel ends at the next kernel's line.
    for (;;) {
      const end = this.#text.indexOf(MARK, MARK.length);
      if (end < 0) return;
      const part = this.#text.slice(0, end);
      this.#text = this.#text.slice(end);
      if (!part.startsWith(MARK)) continue;
      const name = part.slice(MARK.length, part.indexOf("\n"));
      const variant = this.#variants.get(name);
      if (variant) this.figures.set(name, figuresOf(parseStatistics(part), variant));
    }
  }
}

function figuresOf(s: KernelStatistics, { weights, otherBytes }: Variant): Figures {
  const { loop } = s;
  const per = (n: number | undefined) => weights === 0 ? 0 : round((n ?? 0) / weights, 100);
  return {
    instructions: s.instructions,
    valuPerWeight: per(loop?.valu),
    bytesPerWeight: per(loop && loop.loadBytes - otherBytes),
    vmem: loop?.vmem ?? s.vmem,
    multiplyAdds: loop ? Math.round(100 * loop.multiplyAdds / loop.valu) : 0,
    branches: loop?.branches ?? s.branches,
    vgprs: s.vgprs,
    waves: s.waves,
    lds: s.lds,
    spilled: s.spilled,
    scratch: s.scratch,
  };
}

function round(value: number, steps: number): number {
  return Math.round(value * steps) / steps;
}

/** Returns the kernels that spill registers to memory. */
export function spilling(figures: ReadonlyMap<string, Figures>): string[] {
  return [...figures].filter(([, { spilled, scratch }]) => spilled > 0 || scratch > 0)
    .map(([name]) => name);
}

const COLUMNS = [
  ["instructions", "instructions"],
  ["valuPerWeight", "VALU a weight"],
  ["bytesPerWeight", "bytes a weight"],
  ["multiplyAdds", "multiply-adds, %"],
  ["vmem", "VMEM"],
  ["branches", "branches"],
  ["vgprs", "VGPRs"],
  ["waves", "waves"],
  ["lds", "workgroup memory"],
  ["spilled", "spilled"],
  ["scratch", "scratch"],
] as const;

/** Returns a markdown table with one row per kernel. */
export function figuresTable(figures: ReadonlyMap<string, Figures>): string {
  const ofWeights = ["valuPerWeight", "bytesPerWeight"];
  return markdownTable([
    ["kernel", ...COLUMNS.map(([, title]) => title)],
    ...[...figures].map(([name, figure]) => [
      name,
      ...COLUMNS.map(([column]) =>
        ofWeights.includes(column) && figure[column] === 0 ? "" : String(figure[column])
      ),
    ]),
  ], { align: ["l", ...COLUMNS.map(() => "r")] });
}

/** Returns the kernels whose figures differ, and those that only one of the two contains. */
export function differences(
  actual: ReadonlyMap<string, Figures>,
  golden: Readonly<Record<string, Figures>>,
): string[] {
  const names = new Set([...actual.keys(), ...Object.keys(golden)]);
  return [...names].filter((name) =>
    JSON.stringify(actual.get(name)) !== JSON.stringify(golden[name])
  );
}
