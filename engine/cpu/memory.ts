/** The one memory that all threads share, laid out before it is made. */

import type { Fields } from "../../kernels/wasm/operation.ts";
import { OPERATION } from "../../kernels/wasm/operation.ts";
import { DeviceError } from "../errors.ts";

export const PAGE = 65536;
/** Pages that 32-bit addresses reach. */
const NARROW_PAGES = 65536;
/** Pages that V8 lets a memory of 64-bit addresses have. */
const WIDE_PAGES = 262144;

export const CACHE_LINE = 64;

/** Gives out addresses, from the end of the first cache line on, so that 0 is null. */
export class Layout {
  #end = CACHE_LINE;

  allocate(bytes: number): number {
    const at = this.#end;
    this.#end += Math.ceil(bytes / CACHE_LINE) * CACHE_LINE;
    return at;
  }

  /** Bytes given out. */
  get bytes(): number {
    return this.#end - CACHE_LINE;
  }

  get pages(): number {
    // A kernel may read a vector past the end of what it works on.
    return Math.ceil((this.#end + PAGE) / PAGE);
  }
}

/** What a kernel of such fields is told. */
export interface Arguments<F extends Fields> {
  readonly fields: F;
  readonly values: Readonly<Record<keyof F, number>>;
}

/** A memory of so many pages, all zeros; those not written cost nothing. */
export class SharedMemory {
  /** Whether addresses have 64 bits. */
  readonly wide: boolean;
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly floats: Float32Array;
  readonly view: DataView;

  /** @throws {DeviceError} "out-of-memory" if the system does not give so much. */
  constructor(readonly pages: number) {
    this.wide = pages > NARROW_PAGES;
    try {
      this.memory = makeMemory(pages, this.wide);
    } catch (cause) {
      throw new DeviceError(
        "out-of-memory",
        `Cannot allocate ${pages * PAGE} bytes of memory for the model: ${
          cause instanceof Error ? cause.message : cause
        }; use a smaller model, context (--ctx-size) or KV cache`,
        { cause },
      );
    }
    const { buffer } = this.memory;
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
    this.floats = new Float32Array(buffer);
    this.view = new DataView(buffer);
  }

  /** What a module that is given this memory states as its maximum. */
  get maximum(): number {
    return this.wide ? WIDE_PAGES : NARROW_PAGES;
  }

  /** An address as WebAssembly functions take it. */
  address(at: number): number | bigint {
    return this.wide ? BigInt(at) : at;
  }

  /** Float32 values from an address on. */
  floatsAt(at: number, count: number): Float32Array {
    return this.floats.subarray(at / 4, at / 4 + count);
  }

  setAddress(at: number, value: number): void {
    this.words[at / 4] = value;
    this.words[at / 4 + 1] = Math.floor(value / 2 ** 32);
  }

  /** Writes an operation, all but what all of them have, which `head` says. */
  writeOperation<F extends Fields>(
    at: number,
    head: Readonly<Record<Exclude<keyof typeof OPERATION, "next">, number>>,
    { fields, values }: Arguments<F>,
  ): void {
    for (const name of ["kernel", "units", "chunk", "flags"] as const) {
      this.words[(at + OPERATION[name]) / 4] = head[name];
    }
    for (const [name, { offset, kind }] of Object.entries(fields)) {
      const value = values[name]!;
      if (kind === "address") this.setAddress(at + offset, value);
      else if (kind === "float") this.floats[(at + offset) / 4] = value;
      else this.words[(at + offset) / 4] = value;
    }
  }
}

function makeMemory(pages: number, wide: boolean): WebAssembly.Memory {
  if (!wide) return new WebAssembly.Memory({ initial: pages, maximum: NARROW_PAGES, shared: true });
  // TypeScript's types lack 64-bit memories.
  const descriptor = {
    initial: BigInt(pages),
    maximum: BigInt(WIDE_PAGES),
    shared: true,
    address: "i64",
  } as unknown as WebAssembly.MemoryDescriptor;
  return new WebAssembly.Memory(descriptor);
}
