/** Tables of two columns in a chat. */

import { Help } from "commander";
import stringWidth from "string-width";

/** The first column and the second one. */
export type Row = readonly [term: string, description: string];

/** Commander's layout of a list, for text in any script. */
class ListLayout extends Help {
  constructor(width: number) {
    super();
    this.helpWidth = width;
    this.minWidthToWrap = 16;
  }

  override displayWidth(text: string): number {
    return stringWidth(text);
  }
}

/**
 * Returns one line for each row, and more for a long description: it is wrapped at words so that
 * lines have at most `width` columns.
 */
export function table(rows: readonly Row[], width: number): string {
  const layout = new ListLayout(width);
  const longest = Math.max(...rows.map(([term]) => stringWidth(term)));
  const termWidth = Math.min(longest, Math.floor(width / 2));
  return rows.map(([term, description]) => {
    if (stringWidth(term) <= termWidth) {
      return `${layout.formatItem(term, termWidth, description, layout)}\n`;
    }
    // The description begins on the next line.
    return `  ${term}\n${layout.formatItem("", termWidth, description, layout)}\n`;
  }).join("");
}
