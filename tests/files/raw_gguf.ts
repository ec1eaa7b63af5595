/** Builds GGUF files field by field, so that a test can make any field wrong. */

/** Fields of a GGUF file. The defaults are those of a small valid file. */
export interface RawGguf {
  readonly magic?: string;
  readonly version?: number;
  readonly bigEndianVersion?: boolean;
  readonly tensorCount?: bigint;
  readonly keyCount?: bigint;
  readonly keys?: readonly Uint8Array[];
  readonly tensors?: readonly Uint8Array[];
  /** Bytes of the data section. */
  readonly dataBytes?: number;
  readonly alignment?: number;
}

/** Numbers of the value types, from ggml's docs/gguf.md. */
export const TYPE = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
  int64: 11,
  float64: 12,
} as const;

/** One key of each type, and several arrays, one of them nested. */
export const VALID_KEYS: readonly Uint8Array[] = [
  key("general.architecture", TYPE.string, text("llama")),
  key("a.uint8", TYPE.uint8, Uint8Array.of(255)),
  key("a.int8", TYPE.int8, Uint8Array.of(255)),
  key("a.uint16", TYPE.uint16, Uint8Array.of(0xff, 0xff)),
  key("a.int16", TYPE.int16, Uint8Array.of(0xfe, 0xff)),
  key("a.uint32", TYPE.uint32, u32(4294967295)),
  key("a.int32", TYPE.int32, u32(4294967293)),
  key("a.float32", TYPE.float32, new Uint8Array(new Float32Array([1.5]).buffer)),
  key("a.bool", TYPE.bool, Uint8Array.of(1)),
  key("a.string", TYPE.string, text("Ġ水🎉")),
  key("a.uint64", TYPE.uint64, u64(2n ** 64n - 1n)),
  key("a.int64", TYPE.int64, u64(-5n)),
  key("a.float64", TYPE.float64, new Uint8Array(new Float64Array([-0.1]).buffer)),
  key("a.strings", TYPE.array, array(TYPE.string, [text("a"), text(""), text("é"), text("🎉b")])),
  key("a.numbers", TYPE.array, array(TYPE.int32, [u32(1), u32(4294967295)])),
  key("a.empty", TYPE.array, array(TYPE.float32, [])),
  key("a.nested", TYPE.array, array(TYPE.array, [array(TYPE.uint8, [Uint8Array.of(7)])])),
  key("__proto__", TYPE.bool, Uint8Array.of(0)),
];

/** Two tensors of 64 and 36 bytes; sizes innermost first, as in the file. */
export const VALID_TENSORS: readonly Uint8Array[] = [
  tensor("x.weight", [4n, 2n, 2n]),
  tensor("y.weight", [32n, 2n], { type: 2, offset: 64n }),
];

export const VALID_DATA_BYTES = 100;

/** Returns the bytes of a file with these fields. */
export function rawGguf(fields: RawGguf = {}): Uint8Array {
  const keys = fields.keys ?? VALID_KEYS, tensors = fields.tensors ?? VALID_TENSORS;
  const version = u32(fields.version ?? 3);
  const header = join(
    new TextEncoder().encode(fields.magic ?? "GGUF"),
    fields.bigEndianVersion ? version.reverse() : version,
    u64(fields.tensorCount ?? BigInt(tensors.length)),
    u64(fields.keyCount ?? BigInt(keys.length)),
    ...keys,
    ...tensors,
  );
  const alignment = fields.alignment ?? 32;
  const gap = (alignment - header.length % alignment) % alignment;
  const data = new Uint8Array(fields.dataBytes ?? VALID_DATA_BYTES);
  for (let i = 0; i < data.length; i++) data[i] = i;
  return join(header, new Uint8Array(gap), data);
}

/** Returns a file with the valid keys followed by these. */
export function withKeys(...more: readonly Uint8Array[]): Uint8Array {
  return rawGguf({ keys: [...VALID_KEYS, ...more] });
}

export function withTensors(...tensors: readonly Uint8Array[]): Uint8Array {
  return rawGguf({ tensors });
}

export function key(name: string | Uint8Array, type: number, value: Uint8Array): Uint8Array {
  return join(text(name), u32(type), value);
}

export function array(type: number, values: readonly Uint8Array[], length?: bigint): Uint8Array {
  return join(u32(type), u64(length ?? BigInt(values.length)), ...values);
}

/** A tensor's entry, its sizes innermost first; the type is 0, F32, by default. */
export function tensor(
  name: string | Uint8Array,
  sizes: readonly bigint[],
  { type = 0, offset = 0n } = {},
): Uint8Array {
  return join(text(name), u32(sizes.length), ...sizes.map(u64), u32(type), u64(offset));
}

export function text(value: string | Uint8Array, length?: bigint): Uint8Array {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return join(u64(length ?? BigInt(bytes.length)), bytes);
}

export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

export function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), true);
  return bytes;
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
