/** Builds safetensors files from a header's text, so that a test can make any part wrong. */

/** Returns a file with this header, followed by `dataBytes` bytes 0, 1, 2 …. */
export function rawSafetensors(
  header: string | Uint8Array,
  dataBytes = 0,
  statedLength?: bigint,
): Uint8Array {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, statedLength ?? BigInt(json.length), true);
  bytes.set(json, 8);
  for (let i = 0; i < dataBytes; i++) bytes[8 + json.length + i] = i;
  return bytes;
}

/** One entry of a header. */
export function entry(
  dtype: string,
  shape: readonly number[],
  offsets: readonly [begin: number, end: number],
) {
  return { dtype, shape, data_offsets: offsets };
}

/** Tensors of every supported type, of rank 0 to 2; 36 bytes of data. */
export const VALID_HEADER = {
  __metadata__: { format: "pt" },
  "a.weight": entry("F32", [2, 3], [0, 24]),
  "b.weight": entry("BF16", [4], [24, 32]),
  "scalar": entry("F16", [], [32, 34]),
  "empty": entry("F16", [0, 7], [34, 34]),
  "__proto": entry("F16", [1], [34, 36]),
};

export const VALID_DATA_BYTES = 36;

export function validSafetensors(): Uint8Array {
  return rawSafetensors(JSON.stringify(VALID_HEADER), VALID_DATA_BYTES);
}

/** Returns a file with this tensor only, and `dataBytes` bytes of data. */
export function single(tensor: unknown, dataBytes: number): Uint8Array {
  return rawSafetensors(JSON.stringify({ x: tensor }), dataBytes);
}
