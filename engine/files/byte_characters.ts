/** The characters that stand for bytes in byte-level vocabularies. */

/**
 * Returns GPT-2's character for each byte: the same code if it is printable in Latin-1, otherwise
 * one from U+0100 on. Source: bytes_to_unicode in openai/gpt-2, src/encoder.py.
 */
export function byteCharacters(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : next++);
  });
}
