/** What the kernels of a device are measured by. Tests script one; see cases.ts. */

/** Which kernels to measure. */
export interface KernelChoice {
  /** Words of their names, by commas; default all. */
  readonly only?: string | undefined;
  /** Rows x columns of the matrices. */
  readonly shape?: string | undefined;
}

/** What some calls of a kernel need, by their shapes. */
export interface Cost {
  readonly operations: number;
  readonly bytes: number;
}

/** A kernel in one shape. */
export interface KernelCase {
  readonly kernel: string;
  readonly shape: string;
  /** What a call for so many tokens needs; undefined where it is not counted. */
  cost(tokens: number): Cost | undefined;
  /**
   * ms of a call for each of these numbers of tokens, `rounds` samples each, interleaved, after
   * `warmups` (at least one, which compiles) that do not count.
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

/** How far a family of kernels was from the reference. */
export interface Verified {
  readonly name: string;
  readonly passed: boolean;
  readonly error: number;
  readonly tolerance: number;
  readonly message?: string;
}
