/** JSON from a file or a part of one, bounded in size, depth and number of values. */

import { InputFile } from "./input_file.ts";

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;

/** As JSON.parse() makes it: look up keys that come from a file by `Object.entries()`. */
export type JsonObject = { readonly [key: string]: JsonValue };

/** Deeper than any file of a model. */
const MAX_DEPTH = 64;

/**
 * The most that a kind of file may have. Keys take up to 400 bytes and 2 µs each, other values up to
 * 140 bytes, whatever their length in the file.
 */
export interface JsonLimits {
  readonly keys: number;
  /** Keys aside: elements of arrays and what keys stand for. */
  readonly values: number;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** Bytes of JSON, and what to call them in errors: `what` of `file`. */
export interface JsonSource {
  readonly file: InputFile;
  readonly what: string;
  readonly bytes: Uint8Array;
}

/**
 * The JSON object in a source's bytes.
 *
 * @throws {ModelFormatError} if it is above `limits`, not UTF-8, not JSON, not an object, nested too
 * deep, or has a key twice, which readers would take differently.
 */
export function parseJsonObject(
  { file, what, bytes }: JsonSource,
  limits: JsonLimits,
): JsonObject {
  const { depth, ...counts } = scan(bytes);
  if (depth > MAX_DEPTH) {
    throw file.fault(`${what} is nested more than ${MAX_DEPTH} deep; the file is damaged`);
  }
  for (const [kind, limit] of Object.entries(limits) as [keyof JsonLimits, number][]) {
    if (counts[kind] > limit) {
      throw file.fault(
        `${what} has ${counts[kind]} ${kind}, above the limit of ${limit}; ` +
          `the file is damaged or not of a language model`,
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
    throw file.fault(`${what} has a key twice; the file is damaged: download it again`);
  }
  return value;
}

/** JSON, or what Python's json module writes: it has numbers without end, and NaN, as words of their own. */
function parseJson(text: string): JsonValue {
  try {
    return JSON.parse(text);
  } catch {
    const words = /"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g;
    return JSON.parse(text.replaceAll(words, (found) => PYTHON_WORDS[found] ?? found));
  }
}

/** How JSON.parse() gets them: it takes what is too large for infinite. */
const PYTHON_WORDS: Readonly<Record<string, string>> = {
  "Infinity": "1e999",
  "-Infinity": "-1e999",
  "NaN": "null",
};

/**
 * The JSON object that the file at `path` is, if it is no longer than `maxBytes`.
 *
 * @throws {ModelNotFoundError} if there is no such file.
 * @throws {ModelFormatError} as parseJsonObject(), and if the file is longer.
 */
export function readJson(path: string, maxBytes: number, limits: JsonLimits): JsonObject {
  return parseJsonObject(readAll(path, maxBytes), limits);
}

/** All of the file at `path`, which is closed again: it serves to say what is wrong in it. */
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
 * Depth of nesting, keys and values, by the marks outside strings: a sound text has a colon for each
 * key, and before each value within another a comma or the bracket that opens the other.
 */
function scan(json: Uint8Array): JsonLimits & { readonly depth: number } {
  let depth = 0, deepest = 0, keys = 0, values = 0;
  for (let i = 0; i < json.length; i++) {
    switch (json[i]) {
      case 0x22: // A string: on to the quotation mark that no backslash escapes.
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
    // Half the time of Object.values(), and no memory.
    for (const key in value as JsonObject) keys += 1 + countKeys((value as JsonObject)[key]!);
  }
  return keys;
}
