/** Reads a file's little-endian bytes forward, in pieces, within bounds and never past the end. */

import type { ModelFormatError } from "../errors.ts";
import type { InputFile } from "./input_file.ts";
import { quote } from "./quote.ts";
import { plural } from "../plural.ts";

const FIRST_PIECE = 1 << 16;
const LARGEST_PIECE = 1 << 20;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads scalars, strings and arrays one after the other from the start of a file. */
export class ByteReader {
  /** The part of the file that is being read, for messages: `key 3 of 20`. */
  place = "the header";
  #window = new Uint8Array(0);
  #view = new DataView(this.#window.buffer);
  /** The cursor, and the end of the bytes read so far, as offsets in the window. */
  #position = 0;
  #filled = 0;
  /** Offset in the file of the window's end. */
  #next = 0;
  #piece = FIRST_PIECE;
  /** Accept texts that are not UTF-8: invalid bytes become U+FFFD. */
  lenient = false;

  /**
   * Reads at most the first `limit` bytes of `file`. If they do not suffice, the error says that
   * they are the limit for `limitName`.
   */
  constructor(
    readonly file: InputFile,
    readonly limit: number,
    readonly limitName: string,
  ) {}

  /** Bytes from the start of the file to the cursor. */
  get offset(): number {
    return this.#next - this.#filled + this.#position;
  }

  /** Bytes from the cursor to the end of the file. */
  get remaining(): number {
    return this.file.size - this.offset;
  }

  uint8(): number {
    const at = this.#advance(1);
    return this.#view.getUint8(at);
  }
  int8(): number {
    const at = this.#advance(1);
    return this.#view.getInt8(at);
  }
  uint16(): number {
    const at = this.#advance(2);
    return this.#view.getUint16(at, true);
  }
  int16(): number {
    const at = this.#advance(2);
    return this.#view.getInt16(at, true);
  }
  uint32(): number {
    const at = this.#advance(4);
    return this.#view.getUint32(at, true);
  }
  int32(): number {
    const at = this.#advance(4);
    return this.#view.getInt32(at, true);
  }
  float32(): number {
    const at = this.#advance(4);
    return this.#view.getFloat32(at, true);
  }
  float64(): number {
    const at = this.#advance(8);
    return this.#view.getFloat64(at, true);
  }
  /** Reads a number, or a bigint if a number would not be exact. */
  uint64(): number | bigint {
    const at = this.#advance(8);
    return exact(this.#view.getBigUint64(at, true));
  }
  /** Reads a number, or a bigint if a number would not be exact. */
  int64(): number | bigint {
    const at = this.#advance(8);
    return exact(this.#view.getBigInt64(at, true));
  }

  /**
   * Reads a count or length, and checks it before anything is allocated for it.
   *
   * @param what name of the count in messages, such as "array length"
   * @param bytesEach minimum number of bytes of each counted item in the file
   * @param limit largest count accepted
   */
  count(what: string, bytesEach: number, limit: number): number {
    const at = this.offset;
    const value = this.uint64();
    if (typeof value === "bigint" || value > Math.floor(this.remaining / bytesEach)) {
      throw this.fault(
        `${what} ${value} in ${this.place} (at byte ${at}) is too large for the ` +
          `${this.remaining} ${plural(this.remaining, "byte")} left in the file; ` +
          `the file is damaged or cut short: download it again`,
      );
    }
    if (value > limit) {
      throw this.fault(
        `${what} ${value} in ${this.place} (at byte ${at}) is above the limit of ${limit}; ` +
          `the file is damaged or not a language model`,
      );
    }
    return value;
  }

  /** Reads a string of at most `limit` bytes, which follow its 64-bit length. */
  string(what: string, limit: number): string {
    const length = this.count(`${what} length`, 1, limit);
    const start = this.#advance(length);
    try {
      return UTF8.decode(this.#window.subarray(start, start + length));
    } catch {
      const text = new TextDecoder().decode(this.#window.subarray(start, start + length));
      if (this.lenient) return text;
      throw this.fault(
        `${what} ${quote(text)} in ${this.place} (at byte ${this.offset - length}) is not UTF-8; ` +
          `the file is damaged: download it again`,
      );
    }
  }

  /**
   * Reads `count` strings, each after its 64-bit length. A vocabulary has 150,000 of them, so all
   * strings that end within the window are decoded at once and then split.
   */
  strings(what: string, count: number, limit: number): string[] {
    const texts: string[] = [];
    const readOne = () => void texts.push(this.string(`${what} ${texts.length}`, limit));
    while (texts.length < count) {
      this.#readWindow(texts, count, readOne);
      // The next string reaches past the window or is invalid: `readOne` reads it or throws the
      // error.
      if (texts.length < count) readOne();
    }
    return texts;
  }

  /** Reads strings that end within the window, up to `count` texts; uses `readOne` if not UTF-8. */
  #readWindow(texts: string[], count: number, readOne: () => void): void {
    const window = this.#window, end = this.#filled;
    const joined = new Uint8Array(end - this.#position);
    const units: number[] = [];
    let position = this.#position, used = 0;
    while (texts.length + units.length < count && position + 8 <= end) {
      const length = this.#view.getUint32(position, true);
      const start = position + 8;
      if (this.#view.getUint32(position + 4, true) !== 0 || start + length > end) break;
      // If a string starts within a character, joining it to the previous one could make it valid.
      if (length > 0 && (window[start]! & 0xc0) === 0x80) break;
      // Count UTF-16 code units: one for each character, two if it has four bytes in UTF-8.
      let size = 0;
      for (let i = start; i < start + length; i++) {
        const byte = window[i]!;
        joined[used++] = byte;
        if ((byte & 0xc0) !== 0x80) size += byte >= 0xf0 ? 2 : 1;
      }
      units.push(size);
      position = start + length;
    }
    let all: string;
    try {
      all = UTF8.decode(joined.subarray(0, used));
    } catch {
      // One of them is not UTF-8. Read them one by one, so that the error names it.
      for (const _ of units) readOne();
      return;
    }
    let from = 0;
    for (const size of units) texts.push(all.slice(from, from += size));
    this.#position = position;
  }

  /** Returns an error about the file's content. */
  fault(detail: string): ModelFormatError {
    return this.file.fault(detail);
  }

  /** Moves the cursor past `length` bytes and returns where they start in the window. */
  #advance(length: number): number {
    if (this.#position + length > this.#filled) this.#refill(length);
    const start = this.#position;
    this.#position += length;
    return start;
  }

  #refill(length: number): void {
    const offset = this.offset;
    if (length > this.file.size - offset) {
      throw this.fault(
        `it ends at byte ${this.file.size}, inside ${this.place} (${length} ${
          plural(length, "byte")
        } needed from byte ${offset}); the file is cut short: download it again`,
      );
    }
    if (offset + length > this.limit) {
      throw this.fault(
        `${this.place} extends beyond the limit of ${this.limit} bytes for ${this.limitName}; ` +
          `the file is damaged or not a language model`,
      );
    }
    const size = Math.min(Math.max(length, this.#piece), this.file.size - offset);
    this.#piece = Math.min(2 * this.#piece, LARGEST_PIECE);
    const unread = this.#window.subarray(this.#position, this.#filled);
    const window = size <= this.#window.length ? this.#window : new Uint8Array(size);
    window.set(unread);
    this.file.read(this.#next, window.subarray(unread.length, size));
    this.#next += size - unread.length;
    this.#window = window;
    this.#view = new DataView(window.buffer);
    this.#position = 0;
    this.#filled = size;
  }
}

function exact(value: bigint): number | bigint {
  const rounded = Number(value);
  return Number.isSafeInteger(rounded) ? rounded : value;
}
