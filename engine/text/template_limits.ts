/** Limits of chat templates, and the types of their values. */

import type { Environment, Interpreter } from "./packages.ts";

/**
 * Most steps of a template, plus one for each character of the input. A step is the evaluation of a
 * node, or other work that takes about as long. Qwen3's template takes 500 steps per message.
 */
export const MAX_WORK = 1_000_000;
/** Deepest nesting of evaluated nodes, including macro calls. */
export const MAX_DEPTH = 400;
/** Most characters of any string, including the result. */
export const MAX_TEXT = 4 * 2 ** 20;
/** Most characters of a string that is split into characters. */
const MAX_CHARACTERS = 2 ** 18;
/** Most elements of any array. */
export const MAX_ARRAY = 2 ** 15;
/** Deepest nesting of values, as in `[[[]]]`. */
export const MAX_NESTING = 100;

/** Thrown when a template exceeds one of these limits. */
export class TemplateLimitError extends Error {
  override name = "TemplateLimitError";
}

export type Value = ReturnType<Interpreter["evaluate"]>;
export type TextValue = Value & { value: string };
export type ListValue = Value & { value: Value[] };
export type MapValue = Value & { value: Map<string, Value> };
export type FunctionValue = Value & { value: (args: Value[], scope: Environment) => Value };

export function isText(value: Value | undefined): value is TextValue {
  return value?.type === "StringValue";
}

export function isList(value: Value): value is ListValue {
  return value.type === "ArrayValue" || value.type === "TupleValue";
}

export function isMap(value: Value): value is MapValue {
  return value.type === "ObjectValue" || value.type === "NamespaceValue" ||
    value.type === "KeywordArgumentsValue";
}

export function tooLong(): TemplateLimitError {
  return new TemplateLimitError(`it produces a text of more than ${MAX_TEXT} characters`);
}

export function tooManyElements(): TemplateLimitError {
  return new TemplateLimitError(`it produces an array of more than ${MAX_ARRAY} elements`);
}

export function tooNested(): TemplateLimitError {
  return new TemplateLimitError(`its values are nested more than ${MAX_NESTING} levels deep`);
}

/** Checks a string before it is sliced or joined, which creates an array of its characters. */
export function checkCharacters(text: string): void {
  if (text.length > MAX_CHARACTERS) {
    throw new TemplateLimitError(
      `it splits a text of more than ${MAX_CHARACTERS} characters into single ones`,
    );
  }
}

/** Checks `text.replace(from, to)` before it is executed. */
export function checkReplace(text: string, from: string, to: string): void {
  const most = MAX_TEXT / Math.max(1, to.length);
  const found = from === "" ? text.length + 1 : occurrences(text, from, most);
  if (found > most) throw tooLong();
}

/**
 * Checks `text.split(separator)` before it is executed. Without a separator, white space splits.
 */
export function checkSplit(text: string, separator: string | undefined): void {
  if (text.length <= MAX_ARRAY) return;
  const parts = separator === undefined
    ? occurrences(text.replace(/\s+/g, " "), " ", MAX_ARRAY)
    : occurrences(text, separator, MAX_ARRAY);
  if (parts >= MAX_ARRAY) throw tooManyElements();
}

/** Counts the occurrences of the non-empty `part`; stops counting just above `limit`. */
export function occurrences(text: string, part: string, limit: number): number {
  let found = 0;
  for (let at = text.indexOf(part); at >= 0 && found <= limit; found++) {
    at = text.indexOf(part, at + part.length);
  }
  return found;
}

/** Python's `range`. */
export function range(start: unknown, stop: unknown, step: unknown): number[] {
  const [first, end] = stop === undefined ? [0, start] : [start, stop];
  const by = step ?? 1;
  if (![first, end, by].every(Number.isInteger) || by === 0) {
    throw new TypeError("range() takes integers and a step other than 0");
  }
  const length = Math.max(0, Math.ceil((Number(end) - Number(first)) / Number(by)));
  if (length > MAX_ARRAY) throw tooManyElements();
  return Array.from({ length }, (_, i) => Number(first) + i * Number(by));
}

/** White space of Python's `strip`. JavaScript's includes U+FEFF and lacks some of these. */
const WHITE_SPACE =
  "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005" +
  "\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000";

/** Python's `strip`, `lstrip` and `rstrip`. */
export function strip(
  name: "strip" | "lstrip" | "rstrip",
  text: string,
  characters = WHITE_SPACE,
): string {
  let start = 0;
  let end = text.length;
  if (name !== "rstrip") { while (start < end && characters.includes(text[start]!)) start++; }
  if (name !== "lstrip") { while (end > start && characters.includes(text[end - 1]!)) end--; }
  return text.slice(start, end);
}

/** Returns the arguments that `*list` or `**map` expands to. */
export function spread(value: Value): Value[] {
  if (isList(value)) return value.value;
  return isMap(value) ? [...value.value.values()] : [value];
}
