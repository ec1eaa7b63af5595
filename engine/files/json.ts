/** JSON from a file or a part of one, bounded in size, depth and number of keys. */

import { InputFile } from "./input_file.ts";

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;

/** As JSON.parse() makes it: look up keys that come from a file by `Object.entries()`. */
export type JsonObject = { readonly [key: string]: JsonValue };

/** Deeper than any file of a model. */
const MAX_DEPTH = 64;

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/**
 * The JSON object in `bytes`, which are `what` of `file`.
 *
 * @throws {ModelFormatError} if it is not UTF-8, not JSON, not an object, nested too deep, or has a
 * key twice, which readers would take differently.
 */
export function parseJsonObject(file: InputFile, what: string, bytes: Uint8Array): JsonObject {
  let text: string;
  try {
    text = UTF8.decode(bytes);
  } catch {
    throw file.fault(`${what} is not UTF-8; the file is damaged, get it again`);
  }
  const { depth, keys } = scan(text);
  if (depth > MAX_DEPTH) {
    throw file.fault(`${what} is nested more than ${MAX_DEPTH} deep; the file is damaged`);
  }
  let value: JsonValue;
  try {
    value = JSON.parse(text);
  } catch {
    throw file.fault(`${what} is not JSON; the file is damaged, get it again`);
  }
  if (!isObject(value)) throw file.fault(`${what} is not a JSON object; get another file`);
  if (countKeys(value) !== keys) {
    throw file.fault(`${what} has a key twice; the file is damaged, get it again`);
  }
  return value;
}

/**
 * The JSON object that `file` is, if it is no longer than `limit` bytes.
 *
 * @throws {ModelFormatError} as parseJsonObject(), and if the file is longer.
 */
export function readJsonObject(file: InputFile, limit: number): JsonObject {
  if (file.size > limit) {
    throw file.fault(`it has ${file.size} bytes, above the limit of ${limit}; get another file`);
  }
  const bytes = new Uint8Array(file.size);
  file.read(0, bytes);
  return parseJsonObject(file, "it", bytes);
}

/** readJsonObject() of the file at `path`. */
export function readJson(path: string, limit: number): JsonObject {
  const file = InputFile.open(path);
  try {
    return readJsonObject(file, limit);
  } finally {
    file.close();
  }
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Depth of nesting, and colons outside strings, of which a sound text has one for each key. */
function scan(text: string): { depth: number; keys: number } {
  let depth = 0, deepest = 0, keys = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22: // A string: on to the quotation mark that no backslash escapes.
        for (i++; i < text.length && text.charCodeAt(i) !== 0x22; i++) {
          if (text.charCodeAt(i) === 0x5c) i++;
        }
        break;
      case 0x7b: // {
      case 0x5b: // [
        deepest = Math.max(deepest, ++depth);
        break;
      case 0x7d:
      case 0x5d:
        depth--;
        break;
      case 0x3a: // :
        keys++;
    }
  }
  return { depth: deepest, keys };
}

function countKeys(value: JsonValue): number {
  if (typeof value !== "object" || value === null) return 0;
  const inner = Object.values(value) as JsonValue[];
  return inner.reduce<number>(
    (sum, item) => sum + countKeys(item),
    Array.isArray(value) ? 0 : inner.length,
  );
}
