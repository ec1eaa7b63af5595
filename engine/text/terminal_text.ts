/** Makes text safe to print in a terminal. */

// Control characters (C0, DEL, C1) can move the cursor, change the window's title or paste into the
// shell. Bidirectional overrides display text in a different order.
const UNSAFE = /(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Returns `text` with every control character except line feed and tab written as `\x1b` or
 * `\u202e`. JSON stays valid, because characters below a space are already escaped in it. Ordinary
 * text is returned unchanged. Each character is escaped on its own, so text may arrive in pieces.
 */
export function escapeControls(text: string): string {
  return text.replace(UNSAFE, (c) => {
    const code = c.charCodeAt(0).toString(16);
    return c < " " ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}
