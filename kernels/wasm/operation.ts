/**
 * An operation: the record that describes one run of a kernel. Its work is divided into units. Each
 * thread takes `chunk` units at a time, until all `units` are taken.
 */

import {
  type Code,
  type FunctionBuilder,
  get,
  load,
  type Local,
  type ModuleBuilder,
} from "./assembler.ts";

/** Every thread runs all units, instead of sharing them. */
export const REDUNDANT = 1;
/** No thread starts the next operation until all threads have finished this one. */
export const JOIN = 2;

/** Byte offsets of the fields that all operations have, 32 bits each. */
export const OPERATION = { kernel: 0, units: 4, chunk: 8, flags: 12, next: 16 } as const;

const INTEGERS_AT = 20;
const ADDRESSES_AT = 80;
/**
 * Bytes of an operation: whole cache lines, with room for 15 numbers and 22 addresses of the
 * kernel.
 */
export const OPERATION_BYTES = 256;

/** A field: its byte offset and its type. An address has 8 bytes, an integer or a float 4. */
export interface Field {
  readonly offset: number;
  readonly kind: "integer" | "float" | "address";
}

export type Fields = Readonly<Record<string, Field>>;

/** Assigns offsets to the named integers, floats and addresses of a kernel. */
export function fields<I extends string, A extends string, F extends string = never>(
  integers: readonly I[],
  addresses: readonly A[],
  floats: readonly F[] = [],
): Readonly<Record<I | A | F, Field>> {
  const all: Record<string, Field> = {};
  let at = INTEGERS_AT;
  for (const name of integers) all[name] = { offset: (at += 4) - 4, kind: "integer" };
  for (const name of floats) all[name] = { offset: (at += 4) - 4, kind: "float" };
  if (at > ADDRESSES_AT) {
    throw new RangeError(
      `Cannot lay out an operation: its numbers need ${at - INTEGERS_AT} bytes, more than fit`,
    );
  }
  at = ADDRESSES_AT;
  for (const name of addresses) all[name] = { offset: (at += 8) - 8, kind: "address" };
  if (at > OPERATION_BYTES) {
    throw new RangeError(
      `Cannot lay out an operation: it needs ${at} bytes, but ${OPERATION_BYTES} fit`,
    );
  }
  return all as Record<I | A | F, Field>;
}

/** Reads a field of the operation that `operation` points to. */
export function field(module: ModuleBuilder, operation: Local, { offset, kind }: Field): Code {
  switch (kind) {
    case "address":
      return module.loadAddress(get(operation), offset);
    case "integer":
      return load("i32.load", get(operation), offset);
    case "float":
      return load("f32.load", get(operation), offset);
  }
}

/**
 * Adds a kernel: a function (operation, from, to, thread) that runs the units `from` (inclusive) to
 * `to` (exclusive). `thread` is the index of the thread that runs them.
 */
export function addKernel(
  module: ModuleBuilder,
  write: (f: FunctionBuilder, params: readonly [Local, Local, Local, Local]) => Code,
): number {
  return module.add([module.address, "i32", "i32", "i32"], [], write);
}
