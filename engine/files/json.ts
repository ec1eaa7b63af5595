/** Parses JSON from a file or a part of one, with limits on size, depth and number of values. */

import { InputFile } from "./input_file.ts";

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;

/** An object from JSON.parse(): look up keys that come from a file with `Object.entries()`. */
export type JsonObject = { readonly [key: string]: JsonValue };

/** More than the depth of any file of a model. */
const MAX_DEPTH = 64;

/**
 * Limits for a kind of file. A parsed key takes up to 400 bytes of memory and 2 µs, and any other
 * value takes up to 140 bytes, regardless of their lengths in the file.
 */
export interface JsonLimits {
  readonly keys: number;
  /** Elements of arrays and values of keys. */
  readonly values: number;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** Bytes of JSON, with their file and their name in it (`what`) for errors. */
export interface JsonSource {
  readonly file: InputFile;
  readonly what: string;
  readonly bytes: Uint8Array;
}

/**
 * Parses the JSON object in a source's bytes.
 *
 * @throws {ModelFormatError} if it exceeds `limits`, is not UTF-8, not JSON, not an object, nested
 * too deeply, or has a key twice: programs disagree on which of the two values counts.
 */
export function parseJsonObject(
  { file, what, bytes }: JsonSource,
  limits: JsonLimits,
): JsonObject {
  const { depth, ...counts } = scan(bytes);
  if (depth > MAX_DEPTH) {
    throw file.fault(`${what} is nested more than ${MAX_DEPTH} levels deep; the file is damaged`);
  }
  for (const [kind, limit] of Object.entries(limits) as [keyof JsonLimits, number][]) {
    if (counts[kind] > limit) {
      throw file.fault(
        `${what} has ${counts[kind]} ${kind}, above the limit of ${limit}; ` +
          `the file is damaged or does not belong to a language model`,
      );
    }
  }
  let text: string;
  try {
    text = UTF8.decode(bytes);
  } catch {
    throw file.fault(`${what} is not UTF-8; the file is damaged: download it again`);
  }
  let value: JsonValue;
  try {
    value = parseJson(text);
  } catch {
    throw file.fault(`${what} is not JSON; the file is damaged: download it again`);
  }
  if (!isObject(value)) throw file.fault(`${what} is not a JSON object; use another file`);
  if (countKeys(value) !== counts.keys) {
    throw file.fault(`${what} has a duplicate key; the file is damaged: download it again`);
  }
  return value;
}

/** Parses JSON, or the output of Python's json module, which writes Infinity, -Infinity and NaN. */
function parseJson(text: string): JsonValue {
  try {
    return JSON.parse(text);
  } catch {
    const words = /"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g;
    return JSON.parse(text.replaceAll(words, (found) => PYTHON_WORDS[found] ?? found));
  }
}

/** Replacements that JSON.parse() accepts: a number that is too large becomes infinite. */
const PYTHON_WORDS: Readonly<Record<string, string>> = {
  "Infinity": "1e999",
  "-Infinity": "-1e999",
  "NaN": "null",
};

/**
 * Reads the JSON object in the file at `path`, of at most `maxBytes` bytes.
 *
 * @throws {ModelNotFoundError} if there is no such file.
 * @throws {ModelFormatError} as parseJsonObject(), and if the file is longer than `maxBytes`.
 */
export function readJson(path: string, maxBytes: number, limits: JsonLimits): JsonObject {
  return parseJsonObject(readAll(path, maxBytes), limits);
}

/** Reads the whole file at `path` and closes it; the returned `file` is only for error messages. */
export function readAll(path: string, maxBytes: number): JsonSource {
  const file = InputFile.open(path);
  try {
    if (file.size > maxBytes) {
      throw file.fault(
        `it has ${file.size} bytes, above the limit of ${maxBytes}; use another file`,
      );
    }
    const bytes = new Uint8Array(file.size);
    file.read(0, bytes);
    return { file, what: "it", bytes };
  } finally {
    file.close();
  }
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Counts depth, keys and values by the punctuation outside strings. In valid JSON, a colon follows
 * each key, and a comma or an opening bracket precedes each member of an array or object.
 */
function scan(json: Uint8Array): JsonLimits & { readonly depth: number } {
  let depth = 0, deepest = 0, keys = 0, values = 0;
  for (let i = 0; i < json.length; i++) {
    switch (json[i]) {
      case 0x22: // A string: skip to the quotation mark that no backslash escapes.
        for (i++; i < json.length && json[i] !== 0x22; i++) {
          if (json[i] === 0x5c) i++;
        }
        break;
      case 0x7b: // {
      case 0x5b: // [
        values++;
        deepest = Math.max(deepest, ++depth);
        break;
      case 0x7d:
      case 0x5d:
        depth--;
        break;
      case 0x2c: // ,
        values++;
        break;
      case 0x3a: // :
        keys++;
    }
  }
  return { depth: deepest, keys, values };
}

function countKeys(value: JsonValue): number {
  if (typeof value !== "object" || value === null) return 0;
  let keys = 0;
  if (Array.isArray(value)) {
    for (const item of value as readonly JsonValue[]) keys += countKeys(item);
  } else {
    // Takes half the time of Object.values() and allocates nothing.
    for (const key in value as JsonObject) keys += 1 + countKeys((value as JsonObject)[key]!);
  }
  return keys;
}
