/** Faults of a GGUF header, one in each file, and the error message that each must cause. */

import {
  array,
  key,
  rawGguf,
  tensor,
  text,
  TYPE,
  u32,
  u64,
  VALID_TENSORS,
  withKeys,
  withTensors,
} from "./raw_gguf.ts";

/** A damaged file, and a pattern that its error's message matches. */
export interface Fault {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly says: RegExp;
  /** UnsupportedError rather than ModelFormatError. */
  readonly unsupported?: true;
}

const valid = rawGguf();
const notUtf8 = Uint8Array.of(0x61, 0xff, 0x62);
const first = VALID_TENSORS[0]!;

/** A file with one tensor of these sizes, innermost first; its type is F32 by default. */
function sized(sizes: readonly bigint[], type = 0): Uint8Array {
  return withTensors(tensor("x", sizes, { type }));
}

function typed(id: number): Uint8Array {
  return sized([256n], id);
}

function aligned(alignment: number): Uint8Array {
  return withKeys(key("general.alignment", TYPE.uint32, u32(alignment)));
}

function nested(depth: number): Uint8Array {
  let value = array(TYPE.uint8, []);
  for (let i = 1; i < depth; i++) value = array(TYPE.array, [value]);
  return withKeys(key("deep", TYPE.array, value));
}

export const FAULTS: readonly Fault[] = [
  // Magic and version.
  { name: "empty", bytes: new Uint8Array(0), says: /it is empty/ },
  { name: "3 bytes", bytes: valid.slice(0, 3), says: /starts with 'GGU' instead of/ },
  { name: "4 bytes", bytes: valid.slice(0, 4), says: /ends at byte 4, inside the magic/ },
  {
    name: "23 bytes",
    bytes: valid.slice(0, 23),
    says: /tensor count 2 in the header \(at byte 8\) is too large for/,
  },
  { name: "wrong magic", bytes: rawGguf({ magic: "GGUX" }), says: /starts with 'GGUX' instead of/ },
  { name: "version 0", bytes: rawGguf({ version: 0 }), says: /version is 0; the file is damaged/ },
  {
    name: "version 1",
    bytes: rawGguf({ version: 1 }),
    says: /version is 1, but tvllm reads only 2 and 3; convert/,
    unsupported: true,
  },
  {
    name: "version 4",
    bytes: rawGguf({ version: 4 }),
    says: /version is 4, but tvllm reads only 2 and 3; look for a newer tvllm/,
    unsupported: true,
  },
  {
    name: "big-endian",
    bytes: rawGguf({ bigEndianVersion: true }),
    says: /it is big-endian/,
    unsupported: true,
  },
  // Counts.
  {
    name: "2^64-1 tensors",
    bytes: rawGguf({ tensorCount: 2n ** 64n - 1n }),
    says:
      /tensor count 18446744073709551615 in the header \(at byte 8\) is too large for the \d+ bytes/,
  },
  {
    name: "2^64-1 keys",
    bytes: rawGguf({ keyCount: 2n ** 64n - 1n }),
    says: /key count 18446744073709551615 in the header \(at byte 16\) /,
  },
  {
    name: "more tensors than bytes",
    bytes: rawGguf({ tensorCount: BigInt(valid.length) }),
    says: /tensor count \d+ in the header \(at byte 8\) .* too large/,
  },
  {
    name: "more keys than bytes",
    bytes: rawGguf({ keyCount: BigInt(valid.length) }),
    says: /key count \d+ in the header \(at byte 16\) .* too large/,
  },
  {
    name: "too many tensors",
    bytes: rawGguf({ tensorCount: 65537n, dataBytes: 3_000_000 }),
    says: /tensor count 65537 .* above the limit of 65536/,
  },
  {
    name: "too many keys",
    bytes: rawGguf({ keyCount: 65537n, dataBytes: 3_000_000 }),
    says: /key count 65537 .* above the limit of 65536/,
  },
  { name: "one key more than there are", bytes: rawGguf({ keyCount: 19n }), says: /too large/ },
  // Keys.
  {
    name: "key length past the end",
    bytes: rawGguf({ keys: [text("", 2n ** 40n)] }),
    says: /name length 1099511627776 in key 1 of 1 \(at byte 24\) is too large/,
  },
  {
    name: "key length above the limit",
    bytes: rawGguf({ keys: [text("k".repeat(65536))] }),
    says: /name length 65536 in key 1 of 1 \(at byte 24\) is above the limit of 65535/,
  },
  { name: "empty key", bytes: withKeys(key("", TYPE.bool, Uint8Array.of(1))), says: /has no name/ },
  {
    name: "duplicate key",
    bytes: withKeys(key("a.bool", TYPE.bool, Uint8Array.of(1))),
    says: /key 'a\.bool' occurs twice/,
  },
  {
    name: "duplicate __proto__",
    bytes: withKeys(key("__proto__", TYPE.bool, Uint8Array.of(1))),
    says: /key '__proto__' occurs twice/,
  },
  {
    name: "key not UTF-8",
    bytes: withKeys(key(notUtf8, TYPE.bool, Uint8Array.of(1))),
    says: /name 'a\ufffdb' in key 19 of 19 \(at byte \d+\) is not UTF-8/,
  },
  {
    name: "key with line ends",
    bytes: withKeys(key("a\n\u001b[2J\u202e", 99, new Uint8Array(0))),
    says: /key 'a\\u\{a\}\\u\{1b\}\[2J\\u\{202e\}' has the unknown value type 99/,
  },
  // Values.
  {
    name: "unknown value type",
    bytes: withKeys(key("b", 13, u32(0))),
    says: /key 'b' has the unknown value type 13/,
  },
  {
    name: "boolean of value 2",
    bytes: withKeys(key("b", TYPE.bool, Uint8Array.of(2))),
    says: /key 'b' is a boolean with the value 2/,
  },
  {
    name: "string length past the end",
    bytes: withKeys(key("b", TYPE.string, text("x", 10_000n))),
    says: /value length 10000 in key 'b' \(at byte \d+\) is too large/,
  },
  {
    name: "string above the limit",
    bytes: withKeys(key("b", TYPE.string, text(new Uint8Array(4 * 2 ** 20 + 1)))),
    says: /value length 4194305 .* above the limit of 4194304/,
  },
  {
    name: "string of the tokenizer not UTF-8",
    bytes: withKeys(key("tokenizer.b", TYPE.string, text(notUtf8))),
    says: /value 'a\ufffdb' in key 'tokenizer\.b' \(at byte \d+\) is not UTF-8/,
  },
  {
    name: "array of unknown type",
    bytes: withKeys(key("b", TYPE.array, array(77, []))),
    says: /key 'b' is an array of the unknown value type 77/,
  },
  {
    name: "array longer than the file",
    bytes: withKeys(key("b", TYPE.array, array(TYPE.uint64, [], 1000n))),
    says: /array length 1000 in key 'b' \(at byte \d+\) is too large/,
  },
  {
    name: "array length × size that overflows",
    bytes: withKeys(key("b", TYPE.array, array(TYPE.uint64, [], 2n ** 61n + 1n))),
    says: /array length 2305843009213693953 .* too large/,
  },
  {
    name: "array of strings longer than the file",
    bytes: withKeys(key("b", TYPE.array, array(TYPE.string, [text("x")], 2n ** 32n))),
    says: /array length 4294967296 .* too large/,
  },
  {
    name: "array above the limit",
    bytes: withKeys(
      key("b", TYPE.array, array(TYPE.uint8, [new Uint8Array(2 ** 22 + 1)], 4194305n)),
    ),
    says: /array length 4194305 .* above the limit of 4194304/,
  },
  {
    name: "arrays above the limit together",
    bytes: withKeys(
      key("b", TYPE.array, array(TYPE.uint8, [new Uint8Array(2 ** 21)], 2n ** 21n)),
      key("c", TYPE.array, array(TYPE.uint8, [new Uint8Array(2 ** 21)], 2n ** 21n)),
    ),
    says: /with key 'c', the arrays exceed the limit of 4194304 values/,
  },
  { name: "arrays nested too deep", bytes: nested(5), says: /nested more than 4 levels deep/ },
  { name: "arrays nested 1,000 deep", bytes: nested(1000), says: /nested more than 4 levels deep/ },
  {
    name: "element of a string array past the end",
    bytes: withKeys(
      key("b", TYPE.array, array(TYPE.string, [text("ok"), text("x", 2n ** 33n)])),
    ),
    says: /value 1 length 8589934592 in key 'b' \(at byte \d+\)/,
  },
  {
    name: "element of a string array not UTF-8",
    bytes: withKeys(
      key("tokenizer.b", TYPE.array, array(TYPE.string, [text("ok"), text(notUtf8), text("ok")])),
    ),
    says: /value 1 'a\ufffdb' in key 'tokenizer\.b' \(at byte \d+\) is not UTF-8/,
  },
  {
    name: "a character split over two elements",
    bytes: withKeys(
      key(
        "tokenizer.b",
        TYPE.array,
        array(TYPE.string, [text(Uint8Array.of(0xc4)), text(Uint8Array.of(0xa0))]),
      ),
    ),
    says: /value 0 '\ufffd' in key 'tokenizer\.b' \(at byte \d+\) is not UTF-8/,
  },
  {
    name: "metadata above the limit",
    bytes: withKeys(
      ...Array.from(
        { length: 8 },
        (_, i) => key(`b${i}`, TYPE.string, text(new Uint8Array(4 * 2 ** 20))),
      ),
    ),
    says: /key 'b7' extends beyond the limit of 33554432 bytes for the metadata/,
  },
  // Alignment.
  {
    name: "alignment 0",
    bytes: aligned(0),
    says: /'general\.alignment' is 0, not a multiple of 8/,
  },
  { name: "alignment 13", bytes: aligned(13), says: /'general\.alignment' is 13, not/ },
  { name: "alignment 2^31", bytes: aligned(2 ** 31), says: /'general\.alignment' is 2147483648/ },
  {
    name: "alignment of another type",
    bytes: withKeys(key("general.alignment", TYPE.uint64, u64(32n))),
    says: /'general\.alignment' has type uint64, not uint32/,
  },
  // Tensors.
  {
    name: "tensor name of 64 bytes",
    bytes: withTensors(tensor("é".repeat(32), [4n])),
    says: /has a name longer than 63 bytes/,
  },
  {
    name: "tensor without a name",
    bytes: withTensors(tensor("", [4n])),
    says: /tensor 1 of 1 has no name/,
  },
  {
    name: "tensor name not UTF-8",
    bytes: withTensors(tensor(notUtf8, [4n])),
    says: /name 'a\ufffdb' in tensor 1 of 1 \(at byte \d+\) is not UTF-8/,
  },
  {
    name: "duplicate tensor",
    bytes: withTensors(first, tensor("x.weight", [2n], { offset: 64n })),
    says: /tensor 'x\.weight' occurs twice/,
  },
  { name: "0 dimensions", bytes: sized([]), says: /tensor 'x' has 0 dimensions/ },
  { name: "5 dimensions", bytes: sized([1n, 1n, 1n, 1n, 1n]), says: /tensor 'x' has 5 dimensions/ },
  {
    name: "2^32-1 dimensions",
    bytes: rawGguf({ tensors: [text("x"), u32(2 ** 32 - 1), new Uint8Array(40)], tensorCount: 1n }),
    says: /tensor 'x' has 4294967295 dimensions/,
  },
  { name: "size 0", bytes: sized([4n, 0n]), says: /the size 4 × 0, which is 0 or too large/ },
  { name: "size 2^63", bytes: sized([2n ** 63n]), says: /9223372036854775808, which is 0 or too/ },
  {
    name: "product that overflows",
    bytes: sized([2n ** 32n, 2n ** 32n]),
    says: /4294967296 × 4294967296, which is 0 or too large/,
  },
  {
    name: "unknown tensor type",
    bytes: typed(999),
    says: /tensor 'x' has the unknown type 999/,
    unsupported: true,
  },
  {
    name: "removed tensor type",
    bytes: typed(4),
    says:
      /tensor 'x' has type Q4_2, which was removed from GGUF; use a version of the model in one of these types: F32/,
    unsupported: true,
  },
  ...([
    ["IQ2_XXS", 16],
    ["IQ3_S", 21],
    ["IQ1_M", 29],
    ["TQ1_0", 34],
    ["NVFP4", 40],
  ] as const).map(([type, id]) => ({
    name: `unsupported tensor type ${type}`,
    bytes: typed(id),
    says: new RegExp(`tensor 'x' has type ${type}; use a version .* types: F32, F16`),
    unsupported: true,
  } as const)),
  {
    name: "row that is not a whole number of groups",
    bytes: sized([33n, 32n], 2),
    says: /tensor 'x' has rows of 33 weights, not a multiple of 32, the group size of Q4_0/,
  },
  {
    name: "unaligned offset",
    bytes: withTensors(tensor("x", [4n], { offset: 4n })),
    says: /tensor 'x' is at offset 4, not a multiple of the alignment 32/,
  },
  {
    name: "overlapping tensors",
    bytes: withTensors(first, tensor("y", [4n], { offset: 32n })),
    says: /tensor 'y' at byte \d+ overlaps tensor 'x\.weight'/,
  },
  {
    name: "a gap between tensors, as a wrong type would cause",
    bytes: withTensors(first, tensor("y", [4n], { offset: 96n })),
    says: /tensor 'y' at byte \d+ leaves a gap after tensor 'x\.weight', which ends at byte \d+/,
  },
  {
    name: "a gap before the first tensor",
    bytes: withTensors(tensor("x", [4n], { offset: 32n })),
    says: /tensor 'x' at byte \d+ leaves a gap after the header/,
  },
  {
    name: "tensor data in another order than the table",
    bytes: withTensors(tensor("y", [4n], { offset: 64n }), first),
    says: /tensor 'y' at byte \d+ leaves a gap after the header/,
  },
  {
    name: "offset past the end",
    bytes: withTensors(tensor("x", [4n], { offset: 2n ** 40n })),
    says: /tensor 'x' needs 16 bytes from offset 1099511627776 .* beyond the end of the file/,
  },
  {
    name: "offset 2^64-32",
    bytes: withTensors(tensor("x", [4n], { offset: 2n ** 64n - 32n })),
    says: /from offset 18446744073709551584 .* beyond the end/,
  },
  {
    name: "data section one byte short",
    bytes: rawGguf({ dataBytes: 99 }),
    says: /tensor 'y\.weight' needs 36 bytes .* beyond the end of the file \(\d+ bytes\)/,
  },
];
