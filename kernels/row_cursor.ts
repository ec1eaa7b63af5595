/** The position of packing: pack.ts advances it, and the packers of pack_k.ts read it. */

/**
 * Where the current row is read from and packed to. One object is reused for all rows, because
 * creating one per superblock would take longer than packing the superblock.
 */
export interface RowCursor {
  /** The file's words. */
  readonly from: Uint32Array;
  /** Index of the next half (u16) in `from`. */
  half: number;
  readonly quants: Uint32Array;
  /** Index in `quants` of the word where the row's next unit starts. */
  quantAt: number;
  /** Words from one unit of the row to the next. */
  readonly stride: number;
  readonly scales: Uint32Array;
  /** The memory of `scales`, as bytes. */
  readonly scaleBytes: Uint8Array;
  /** Index in `scales` of the word where the scales of the next superblock start. */
  scaleAt: number;
  /** Index of the row among the four rows of its unit. */
  row: number;
}
