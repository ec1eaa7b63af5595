/** A kernel as data: everything needed to build a pipeline, independent of any device. */

import { unrollLoops } from "./unroll.ts";

/** How a kernel uses a binding; "step" is the step's metadata, read at a dynamic offset. */
export type BindingKind = "read" | "write" | "uniform" | "step";

/** A kernel, ready to be compiled. Two specs with equal `kernelKey` are the same kernel. */
export interface KernelSpec {
  /** Name in reports and labels, e.g. `matmul_q4_1`. */
  readonly name: string;
  /** WGSL files and `const` lines, joined in this order. */
  readonly parts: readonly string[];
  /** Values of the `override` declarations. */
  readonly overrides: Readonly<Record<string, number>>;
  /** Kind of each binding of group 0, by binding number; numbers may be missing. */
  readonly bindings: Readonly<Record<number, BindingKind>>;
  /** Invocations per workgroup, to be checked against the device's limits. */
  readonly workgroupSize: readonly [number, number];
  /** Workgroup memory in bytes, to be checked likewise. */
  readonly workgroupBytes: number;
}

/** Returns the WGSL source of a kernel, with its loops unrolled. */
export function kernelSource(spec: KernelSpec): string {
  return unrollLoops(spec.parts.join("\n"));
}

/** Returns a string that identifies a kernel among others of one program. */
export function kernelKey(spec: KernelSpec): string {
  return JSON.stringify([spec.name, spec.parts, spec.overrides]);
}
