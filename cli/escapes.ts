/** `-e, --escape`: processes backslash escapes in the prompt, as printf and llama.cpp do. */

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
 * Returns the text with \n, \r, \t, \', \", \\ and \xHH replaced by the characters that they stand
 * for. Other backslashes stay. Consecutive \xHH are decoded together, as UTF-8.
 *
 * @throws {UsageError} if such bytes are not UTF-8.
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
