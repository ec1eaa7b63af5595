/** The interface for measuring the kernels of a device. cases.ts implements it; tests script it. */

/** Which kernels to measure. */
export interface KernelChoice {
  /** Words of their names, separated by commas; default: all kernels. */
  readonly only?: string | undefined;
  /** Shape of the matrices, such as `1536x768` (rows x columns). */
  readonly shape?: string | undefined;
}

/** Operations and bytes that some calls of a kernel need, computed from their shapes. */
export interface Cost {
  readonly operations: number;
  readonly bytes: number;
}

/** A kernel in one shape. */
export interface KernelCase {
  readonly kernel: string;
  readonly shape: string;
  /** The cost of a call for this many tokens; undefined if it is not counted. */
  cost(tokens: number): Cost | undefined;
  /**
   * Returns ms per call for each of these numbers of tokens, `rounds` samples each, interleaved.
   * Before them there are `warmups` samples that are not counted, at least one, which compiles.
   */
  time(tokens: readonly number[], warmups: number, rounds: number): Promise<number[][]>;
}

/** The kernels of a device. */
export interface KernelBench {
  /** Compares them with the reference, family by family. */
  verify(): AsyncIterable<Verified>;
  readonly cases: readonly KernelCase[];
  close(): void;
}

/** How far the results of a family of kernels are from the reference. */
export interface Verified {
  readonly name: string;
  readonly passed: boolean;
  readonly error: number;
  readonly tolerance: number;
  readonly message?: string;
}
