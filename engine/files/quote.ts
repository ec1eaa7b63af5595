/** Makes text from a file safe for a one-line message. */

/** Controls, line ends, bidirectional marks and lone surrogates: they break or disguise a line. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Returns `text` with every unprintable character written as `\u{…}`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`);
}

/** Returns `text` made printable, cut after 64 characters and in quotation marks. */
export function quote(text: string): string {
  const shown = printable(text.slice(0, 65));
  return shown.length <= 64 ? `'${shown}'` : `'${shown.slice(0, 64)}…'`;
}
