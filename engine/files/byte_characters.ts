/** How byte-level vocabularies, read or made, spell bytes. */

/**
 * The character that GPT-2's spelling has for each byte: itself where it is printable Latin-1, else
 * one from U+0100 on. Source: bytes_to_unicode in openai/gpt-2, src/encoder.py.
 */
export function byteCharacters(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : next++);
  });
}
