/** `-e, --escape`: backslashes in texts of the command line, as printf and llama.cpp have them. */

import { UsageError } from "./exit_codes.ts";

const CHARACTERS: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  "'": "'",
  '"': '"',
  "\\": "\\",
};

/**
 * The text with \n, \r, \t, \', \", \\ and \xHH as what they stand for; other backslashes stay.
 * Bytes that \xHH write one after the other are UTF-8.
 *
 * @throws {UsageError} if they are not.
 */
export function unescaped(text: string): string {
  return text.replace(/(?:\\x[0-9a-f]{2})+|\\(.)/gis, (match, character?: string) => {
    if (character !== undefined) return CHARACTERS[character] ?? match;
    const bytes = Uint8Array.from(match.match(/[0-9a-f]{2}/gi)!, (hex) => parseInt(hex, 16));
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw new UsageError(
        `Cannot use ${match} with --escape: these bytes are not UTF-8; write whole characters`,
      );
    }
  });
}
