/**
 * A small WebAssembly assembler. Code is an array of bytes; an instruction is a function that
 * concatenates the code of its operands and its own bytes. Modules import one shared memory,
 * "env" "memory", with 32-bit or 64-bit addresses.
 */

import { LANE, MEMORY, MEMORY_LANE, PLAIN, SHUFFLE, VECTOR_CONST } from "./opcodes.ts";

/** Instructions as bytes. The code of operands is nested, so that joining does not copy it. */
export type Code = readonly (number | Code)[];

export type ValueType = "i32" | "i64" | "f32" | "v128";

const TYPE_BYTES: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  v128: 0x7b,
};

/** A local variable or a parameter of a function. */
export interface Local {
  readonly index: number;
  readonly type: ValueType;
}

/** An instruction without immediates, after its operands. */
export function op(name: keyof typeof PLAIN, ...operands: Code[]): Code {
  return [...operands, ...PLAIN[name]];
}

/** A load from `address + offset`. */
export function load(name: keyof typeof MEMORY, address: Code, offset = 0): Code {
  const [bytes, align] = MEMORY[name];
  return [address, ...bytes, align, ...unsigned(offset)];
}

/** A store, or an atomic instruction with operands after the address. */
export function store(
  name: keyof typeof MEMORY,
  address: Code,
  ...[offset, ...values]: readonly [number, ...Code[]]
): Code {
  const [bytes, align] = MEMORY[name];
  return [address, ...values, ...bytes, align, ...unsigned(offset)];
}

/** A store of one lane of a vector. */
export function storeLane(
  name: keyof typeof MEMORY_LANE,
  address: Code,
  { offset = 0, value, lane }: {
    readonly offset?: number;
    readonly value: Code;
    readonly lane: number;
  },
): Code {
  const [bytes, align] = MEMORY_LANE[name];
  return [address, value, ...bytes, align, ...unsigned(offset), lane];
}

export function lane(name: keyof typeof LANE, vector: Code, index: number): Code {
  return [vector, ...LANE[name], index];
}

/** i8x16.shuffle: a vector of the given bytes (0–31) of two vectors. */
export function shuffle(a: Code, b: Code, lanes: readonly number[]): Code {
  return [a, b, ...SHUFFLE, ...lanes];
}

/** A vector of the given 32-bit lanes (0–7) of two vectors. */
export function shuffle32(a: Code, b: Code, lanes: readonly number[]): Code {
  return shuffle(a, b, lanes.flatMap((i) => [4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3]));
}

export const i32 = (value: number): Code => [
  0x41,
  // Most constants are small.
  ...value >= -64 && value < 64 ? [value & 0x7f] : signed(BigInt(value | 0)),
];
export const i64 = (value: bigint): Code => [0x42, ...signed(value)];
export function f32(value: number): Code {
  return [0x43, ...new Uint8Array(Float32Array.of(value).buffer)];
}
/** A constant vector of 16 bytes. */
export function vector(bytes: ArrayLike<number>): Code {
  return [...VECTOR_CONST, ...Array.from(bytes, (byte) => byte & 0xff)];
}
export const splatI8 = (value: number): Code => vector(new Uint8Array(16).fill(value));
export const splatI32 = (value: number): Code =>
  vector(new Uint8Array(new Int32Array(4).fill(value).buffer));
export const splatF32 = (value: number): Code =>
  vector(new Uint8Array(new Float32Array(4).fill(value).buffer));

export const get = (local: Local): Code => [0x20, ...unsigned(local.index)];
export const set = (local: Local, value: Code): Code => [
  value,
  0x21,
  ...unsigned(local.index),
];
export const tee = (local: Local, value: Code): Code => [
  value,
  0x22,
  ...unsigned(local.index),
];

const VOID = 0x40;
const END = 0x0b;

/** A block: `br(0)` inside it jumps to its end. */
export const block = (...body: Code[]): Code => [0x02, VOID, ...body, END];
/** A loop: `br(0)` inside it jumps to its start. */
export const loop = (...body: Code[]): Code => [0x03, VOID, ...body, END];
export function when(condition: Code, then: Code, otherwise: Code = []): Code {
  const rest: Code = otherwise.length > 0 ? [0x05, otherwise] : [];
  return [condition, 0x04, VOID, then, rest, END];
}
export const br = (depth: number): Code => [0x0c, depth];
export const brIf = (depth: number, condition: Code): Code => [condition, 0x0d, depth];
/** Repeats `body` while `condition` is true, which is tested before each iteration. */
export function whileLoop(condition: Code, ...body: Code[]): Code {
  return block(loop(brIf(1, op("i32.eqz", condition)), ...body, br(0)));
}
export const call = (index: number, ...operands: Code[]): Code => [
  ...operands,
  0x10,
  ...unsigned(index),
];

/** Allocates the locals of one function and encodes its body. */
export class FunctionBuilder {
  readonly #locals: ValueType[] = [];
  /** Locals of constant vectors, keyed by the code of their values. */
  readonly #constants = new Map<string, { readonly local: Local; readonly value: Code }>();
  readonly params: readonly Local[];

  constructor(params: readonly ValueType[]) {
    this.params = params.map((type, index) => ({ index, type }));
  }

  local(type: ValueType): Local {
    this.#locals.push(type);
    return { index: this.params.length + this.#locals.length - 1, type };
  }

  locals(type: ValueType, count: number): Local[] {
    return Array.from({ length: count }, () => this.local(type));
  }

  /**
   * Returns a constant vector that is set once, at the start of the function. V8 recreates a
   * constant inside a loop in each iteration, with three instructions.
   */
  constant(value: Code): Code {
    const key = String(value);
    const found = this.#constants.get(key) ?? { local: this.local("v128"), value };
    this.#constants.set(key, found);
    return get(found.local);
  }

  /** Encodes the function's body for the code section. */
  encode(code: Code): Uint8Array {
    const body = [
      ...unsigned(this.#locals.length),
      ...this.#locals.flatMap((type) => [1, TYPE_BYTES[type]]),
    ];
    for (const { local, value } of this.#constants.values()) append(body, set(local, value));
    append(body, code);
    body.push(END);
    return joined([unsigned(body.length), body]);
  }
}

interface Signature {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** Builds a module: functions, one imported shared memory, and a table of all functions. */
export class ModuleBuilder {
  readonly #signatures: Signature[] = [];
  readonly #functions: { readonly type: number; readonly body: Uint8Array }[] = [];
  readonly #exports = new Map<string, number>();
  /** The type of addresses. */
  readonly address: "i32" | "i64";

  /** @param wide whether the memory has 64-bit addresses */
  constructor(readonly wide: boolean) {
    this.address = wide ? "i64" : "i32";
  }

  /** Adds a function and returns its index, which is also its index in the table. */
  add<const P extends readonly ValueType[]>(
    params: P,
    results: readonly ValueType[],
    write: (builder: FunctionBuilder, params: { readonly [K in keyof P]: Local }) => Code,
  ): number {
    const builder = new FunctionBuilder(params);
    const locals = builder.params as unknown as { readonly [K in keyof P]: Local };
    const body = builder.encode(write(builder, locals));
    this.#functions.push({ type: this.type(params, results), body });
    return this.#functions.length - 1;
  }

  export(name: string, index: number): void {
    this.#exports.set(name, index);
  }

  /** Returns the index of a function type, and adds the type if it is new. */
  type(params: readonly ValueType[], results: readonly ValueType[]): number {
    const found = this.#signatures.findIndex((other) =>
      `${other.params}>${other.results}` === `${params}>${results}`
    );
    if (found >= 0) return found;
    return this.#signatures.push({ params, results }) - 1;
  }

  /** Calls the function at `index` in the table; `type` is the index of its type. */
  callIndirect(type: number, index: Code, ...operands: Code[]): Code {
    return [...operands, index, 0x11, ...unsigned(type), 0];
  }

  /**
   * Stores a 32-bit value in a global, so that the engine does not eliminate the loads that compute
   * it.
   */
  keep(value: Code): Code {
    return [...value, 0x24, 0];
  }

  // Operations on addresses, which are i32 or i64 depending on the memory.

  addressConst(value: number): Code {
    return this.wide ? i64(BigInt(value)) : i32(value);
  }
  plus(a: Code, b: Code): Code {
    return op(this.wide ? "i64.add" : "i32.add", a, b);
  }
  /** `a + count · size`, where count is an i32. */
  at(a: Code, count: Code, size: Code): Code {
    return this.plus(a, op(this.wide ? "i64.mul" : "i32.mul", this.extend(count), size));
  }
  /** Converts an i32 to an address. */
  extend(value: Code): Code {
    return this.wide ? op("i64.extend_i32_u", value) : value;
  }
  /** Loads an address from memory, where it has 8 bytes. */
  loadAddress(at: Code, offset = 0): Code {
    return load(this.wide ? "i64.load" : "i32.load", at, offset);
  }
  isNull(address: Code): Code {
    return op("i32.eqz", this.notNull(address));
  }
  notNull(address: Code): Code {
    return this.wide ? op("i64.ne", address, i64(0n)) : op("i32.ne", address, i32(0));
  }
  below(a: Code, b: Code): Code {
    return op(this.wide ? "i64.lt_u" : "i32.lt_u", a, b);
  }

  /** @param maximum maximum size of the imported memory, in pages of 64 KiB */
  build(maximum: number): Uint8Array<ArrayBuffer> {
    const count = this.#functions.length;
    const limits = [this.wide ? 7 : 3, ...unsigned(1), ...unsigned(maximum)];
    const sections: [number, Uint8Array][] = [
      [
        1,
        list(
          this.#signatures.map((
            { params, results },
          ) => joined([[0x60], types(params), types(results)])),
        ),
      ],
      [2, list([[...text("env"), ...text("memory"), 0x02, ...limits]])],
      [3, list(this.#functions.map(({ type }) => unsigned(type)))],
      [4, list([[0x70, 0, ...unsigned(count)]])],
      // The global that `keep` writes to: a mutable integer, initially 0.
      [6, list([[TYPE_BYTES.i32, 1, 0x41, 0, END]])],
      [7, list([...this.#exports].map(([name, index]) => [...text(name), 0, ...unsigned(index)]))],
      [9, list([[0, 0x41, 0, END, ...list(Array.from({ length: count }, (_, i) => unsigned(i)))]])],
      [10, list(this.#functions.map(({ body }) => body))],
    ];
    const parts = sections.flatMap(([id, body]) => [[id, ...unsigned(body.length)], body]);
    return joined([[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], ...parts]);
  }
}

type Bytes = Uint8Array | readonly number[];

function list(items: readonly Bytes[]): Uint8Array {
  return joined([unsigned(items.length), ...items]);
}

function joined(parts: readonly Bytes[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function append(bytes: number[], code: Code): void {
  for (const part of code) {
    if (typeof part === "number") bytes.push(part);
    else append(bytes, part);
  }
}

function types(values: readonly ValueType[]): Uint8Array {
  return list(values.map((type) => [TYPE_BYTES[type]]));
}

function text(value: string): number[] {
  const bytes = new TextEncoder().encode(value);
  return [...unsigned(bytes.length), ...bytes];
}

/** Encodes an unsigned integer as LEB128. */
function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push(value % 0x80 | 0x80);
  return [...bytes, value];
}

function signed(value: bigint): number[] {
  const bytes: number[] = [];
  for (;;) {
    const low = Number(value & 0x7fn);
    value >>= 7n;
    const done = value === 0n && (low & 0x40) === 0 || value === -1n && (low & 0x40) !== 0;
    if (done) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}
