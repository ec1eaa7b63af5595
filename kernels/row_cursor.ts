/** Where packing is: pack.ts moves it on, and the packers of pack_k.ts read it. */

/**
 * One row on its way to the device. It is one object for all rows, which changes: one for each
 * superblock would take longer than to pack it.
 */
export interface RowCursor {
  /** The file's words. */
  readonly from: Uint32Array;
  /** The half (u16) of them that comes next. */
  half: number;
  readonly quants: Uint32Array;
  /** The word of `quants` at which the row's next unit starts. */
  quantAt: number;
  /** Words from one unit of the row to the next. */
  readonly stride: number;
  readonly scales: Uint32Array;
  /** The same memory. */
  readonly scaleBytes: Uint8Array;
  /** The word of `scales` at which the next superblock's start. */
  scaleAt: number;
  /** Which of a unit's four rows it is. */
  row: number;
}
