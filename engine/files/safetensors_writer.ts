/**
 * Writes one safetensors file: first the whole header, then the weights piece by piece.
 * Source: the format's description in the README of huggingface/safetensors.
 */

/** Bytes per element, by the format's name of the type. */
const ELEMENT_BYTES = { F32: 4, F16: 2, BF16: 2, U32: 4 } as const;

/** A tensor to write. */
export interface SafetensorsData {
  readonly name: string;
  readonly type: keyof typeof ELEMENT_BYTES;
  /** Outermost dimension first; rows are contiguous. */
  readonly shape: readonly number[];
  /** The bytes in order, in pieces of any length. */
  data(): Iterable<Uint8Array>;
}

/**
 * Yields the bytes of a file of these tensors, in order and in pieces.
 *
 * @throws {RangeError} if a tensor's data do not have the length that its shape requires.
 */
export function* safetensorsPieces(tensors: readonly SafetensorsData[]): Iterable<Uint8Array> {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const tensor of tensors) {
    const begin = end;
    end += bytesOf(tensor);
    header[tensor.name] = { dtype: tensor.type, shape: tensor.shape, data_offsets: [begin, end] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const start = new Uint8Array(Math.ceil((8 + json.length) / 8) * 8).fill(0x20);
  new DataView(start.buffer).setBigUint64(0, BigInt(start.length - 8), true);
  start.set(json, 8); // The spaces after it align the weights.
  yield start;
  for (const tensor of tensors) {
    let written = 0;
    for (const piece of tensor.data()) {
      yield piece;
      written += piece.length;
    }
    if (written !== bytesOf(tensor)) {
      throw new RangeError(
        `Cannot write tensor '${tensor.name}': got ${written} bytes, but its shape requires ${
          bytesOf(tensor)
        }`,
      );
    }
  }
}

function bytesOf({ type, shape }: SafetensorsData): number {
  return shape.reduce((a, b) => a * b, ELEMENT_BYTES[type]);
}
