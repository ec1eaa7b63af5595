/** The memory that all threads share. It is laid out before it is allocated. */

import type { Fields } from "../../kernels/wasm/operation.ts";
import { OPERATION } from "../../kernels/wasm/operation.ts";
import { DeviceError } from "../errors.ts";

export const PAGE = 65536;
/** Maximum number of pages with 32-bit addresses. */
const NARROW_PAGES = 65536;
/** Maximum number of pages that V8 allows with 64-bit addresses. */
const WIDE_PAGES = 262144;

export const CACHE_LINE = 64;

/** Allocates addresses, starting after the first cache line, so that 0 is null. */
export class Layout {
  #end = CACHE_LINE;

  allocate(bytes: number): number {
    const at = this.#end;
    this.#end += Math.ceil(bytes / CACHE_LINE) * CACHE_LINE;
    return at;
  }

  /** Bytes allocated. */
  get bytes(): number {
    return this.#end - CACHE_LINE;
  }

  get pages(): number {
    // One page more, because a kernel may read a vector past the end of its data.
    return Math.ceil((this.#end + PAGE) / PAGE);
  }
}

/** The fields of a kernel and their values. */
export interface Arguments<F extends Fields> {
  readonly fields: F;
  readonly values: Readonly<Record<keyof F, number>>;
}

/** A memory of `pages` pages that are initially zero. Pages that are never written cost nothing. */
export class SharedMemory {
  /** Whether addresses have 64 bits. */
  readonly wide: boolean;
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly floats: Float32Array;
  readonly view: DataView;

  /** @throws {DeviceError} "out-of-memory" if the system cannot allocate that much. */
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

  /** The maximum that a module must declare to import this memory, in pages. */
  get maximum(): number {
    return this.wide ? WIDE_PAGES : NARROW_PAGES;
  }

  /** Converts an address to the type that WebAssembly functions expect. */
  address(at: number): number | bigint {
    return this.wide ? BigInt(at) : at;
  }

  /** Returns `count` float32 values, starting at an address. */
  floatsAt(at: number, count: number): Float32Array {
    return this.floats.subarray(at / 4, at / 4 + count);
  }

  setAddress(at: number, value: number): void {
    this.words[at / 4] = value;
    this.words[at / 4 + 1] = Math.floor(value / 2 ** 32);
  }

  /**
   * Writes an operation: `head` contains the fields that all operations have, except `next`, and
   * `values` those of the kernel.
   */
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
