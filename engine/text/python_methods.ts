/** Methods of Python's `str` for templates. */

import { format } from "./python_format.ts";
import { isLower, isUpper } from "./python_tests.ts";
import { itemsOf, textOf } from "./python_values.ts";
import { strip, type Value } from "./template_limits.ts";

/**
 * Python's line ends, which include the separators of files, groups and records (U+001C to U+001E).
 */
const LINE_ENDS = new RegExp(`\\r\\n|[\\n\\v\\f\\r\x1c\x1d\x1e\x85\u2028\u2029]`);

/** String methods that the library lacks, or implements differently from Python. */
export const TEXT_METHODS: Readonly<
  Record<
    string,
    (text: string, values: readonly Value[], named: ReadonlyMap<string, Value>) => unknown
  >
> = {
  capitalize: (text) => {
    const [first = "", ...rest] = text;
    return first.toUpperCase() + rest.join("").toLowerCase();
  },
  count: (text, [part]) => text.split(textOf(part!)).length - 1,
  find: (text, [part]) => {
    const at = text.indexOf(textOf(part!));
    return at < 0 ? -1 : Array.from(text.slice(0, at)).length;
  },
  format,
  isalpha: (text) => /^\p{L}+$/u.test(text),
  isdigit: (text) => /^\p{Nd}+$/u.test(text),
  islower: (text) => isLower(text),
  isspace: (text) => text !== "" && strip("strip", text) === "",
  isupper: (text) => isUpper(text),
  join: (text, [list]) => itemsOf(list!).map(textOf).join(text),
  removeprefix: (text, [part]) => {
    const prefix = textOf(part!);
    return text.startsWith(prefix) ? text.slice(prefix.length) : text;
  },
  removesuffix: (text, [part]) => {
    const suffix = textOf(part!);
    return suffix !== "" && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text;
  },
  splitlines: (text) => {
    const lines = text.split(LINE_ENDS);
    if (lines.at(-1) === "") lines.pop();
    return lines;
  },
};
