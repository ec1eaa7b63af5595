/** How much a chat template may do, and what its values are to whoever counts. */

import type { Environment, Interpreter } from "./packages.ts";

/**
 * Evaluated nodes, and what else takes about as long as one; one more for each character of the
 * messages. Qwen3's template takes 500 a message.
 */
export const MAX_WORK = 1_000_000;
/** Nodes within each other, macro calls included. */
export const MAX_DEPTH = 400;
/** Characters of any string, the result included. */
export const MAX_TEXT = 4 * 2 ** 20;
/** Characters of a string that is taken apart into characters. */
const MAX_CHARACTERS = 2 ** 18;
/** Elements of any array. */
export const MAX_ARRAY = 2 ** 15;
/** Values within each other, as in `[[[]]]`. */
export const MAX_NESTING = 100;

/** A template reached one of these limits. */
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

/** Slicing and joining a string make an array of its characters. */
export function checkCharacters(text: string): void {
  if (text.length > MAX_CHARACTERS) {
    throw new TemplateLimitError(
      `it splits a text of more than ${MAX_CHARACTERS} characters into single ones`,
    );
  }
}

/** `text.replace(from, to)`, before it is done. */
export function checkReplace(text: string, from: string, to: string): void {
  const most = MAX_TEXT / Math.max(1, to.length);
  const found = from === "" ? text.length + 1 : occurrences(text, from, most);
  if (found > most) throw tooLong();
}

/** `text.split(separator)`, before it is done; by white space where there is no separator. */
export function checkSplit(text: string, separator: string | undefined): void {
  if (text.length <= MAX_ARRAY) return;
  const parts = separator === undefined
    ? occurrences(text.replace(/\s+/g, " "), " ", MAX_ARRAY)
    : occurrences(text, separator, MAX_ARRAY);
  if (parts >= MAX_ARRAY) throw tooManyElements();
}

/** How often `part`, which is not empty, occurs; counting ends a little past `limit`. */
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

/** What Python's `strip` takes for white space; JavaScript's has U+FEFF, too, and lacks some of these. */
const WHITE_SPACE =
  "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005" +
  "\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000";

/** Python's `strip`, `lstrip` and `rstrip` of these characters. */
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

/** The arguments that `*list` and `**map` stand for. */
export function spread(value: Value): Value[] {
  if (isList(value)) return value.value;
  return isMap(value) ? [...value.value.values()] : [value];
}
