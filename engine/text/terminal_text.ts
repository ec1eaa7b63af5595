/** What leaves for a terminal, made safe for it. */

// Controls (C0, DEL, C1) can move the cursor, retitle the window or paste into the shell;
// bidirectional overrides show text in another order than it has.
const UNSAFE = /(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/**
 * `text` with every control character but line feed and tab written as `\x1b` or `\u202e`, so that
 * JSON, in which those below a space are escaped already, stays JSON. Ordinary text is returned as it
 * is. Each character is escaped on its own, so text may come in pieces.
 */
export function escapeControls(text: string): string {
  return text.replace(UNSAFE, (c) => {
    const code = c.charCodeAt(0).toString(16);
    return c < " " ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}
