/** Reads a model's metadata by key, and checks the type and range of each value. */

import { ModelFormatError, UnsupportedError } from "../errors.ts";
import { isObject, type JsonObject, type JsonValue } from "../files/json.ts";
import type { MetadataValue, ModelFile } from "../files/model_file.ts";
import { printable, quote } from "../files/quote.ts";

/** Typed look-ups in `file.metadata`. `fallback` is the value if the key is missing. */
export class MetadataReader {
  readonly #path: string;
  readonly #prefix: string;
  readonly #json: JsonObject | undefined;
  /** Full keys that were looked up by the readers of any prefix. */
  #seen = new Set<string>();

  /**
   * @param options.path the file that errors name; default the model's first
   * @param options.prefix prefix of every key, which callers leave out
   * @param options.json the JSON object that the metadata were built from. A key whose JSON value
   * cannot be metadata (an object, for example) counts as invalid, not as missing.
   */
  constructor(
    readonly file: ModelFile,
    options: { path?: string; prefix?: string; json?: JsonObject | undefined } = {},
  ) {
    this.#path = options.path ?? file.paths[0]!;
    this.#prefix = options.prefix ?? "";
    this.#json = options.json;
  }

  /** Returns a reader of the same file for the keys below `prefix`. */
  under(prefix: string): MetadataReader {
    const reader = new MetadataReader(this.file, { path: this.#path, prefix, json: this.#json });
    reader.#seen = this.#seen;
    return reader;
  }

  /** Returns the keys with this reader's prefix that were never looked up. */
  unseen(): string[] {
    const seen = (key: string) =>
      this.#seen.has(key) || [...this.#seen].some((other) => other.startsWith(`${key}.`));
    if (this.#json === undefined) {
      const own = [...this.file.metadata.keys()].filter((key) => key.startsWith(this.#prefix));
      return own.filter((key) => !seen(key));
    }
    let json: JsonValue | undefined = this.#json;
    for (const part of this.#prefix.split(".").filter(Boolean)) {
      json = isObject(json) ? new Map(Object.entries(json)).get(part) : undefined;
    }
    // null means a missing value.
    return Object.entries(isObject(json) ? json : {}).flatMap(([key, value]) =>
      value === null || seen(this.key(key)) ? [] : [key]
    );
  }

  /** Returns the value without checks. */
  value(key: string): MetadataValue | undefined {
    this.#seen.add(this.key(key));
    return this.file.metadata.get(this.key(key));
  }

  /** Returns the full key. */
  key(rest: string): string {
    return this.#prefix + rest;
  }

  /** @throws {ModelFormatError} if it is missing, or not a string. */
  text(key: string, fallback?: string): string {
    const value = this.#get(key) ?? fallback;
    if (typeof value !== "string") throw this.#wrong(key, "a string");
    return value;
  }

  /** @throws {ModelFormatError} if it is missing, not a whole number, or out of range. */
  integer(key: string, range: readonly [number, number], fallback?: number): number {
    return this.#integer(key, this.#one(key) ?? fallback, range);
  }

  #integer(
    key: string,
    value: MetadataValue | undefined,
    [least, most]: readonly [number, number],
  ): number {
    if (
      typeof value !== "number" || !Number.isInteger(value) || value < least || value > most
    ) {
      throw this.#wrong(key, `a whole number from ${least} to ${most}`);
    }
    return value;
  }

  /**
   * Returns the values of an array with one value per layer. Returns undefined if the value is not
   * an array, or the same for all layers.
   *
   * @throws {ModelFormatError} if the array has another length, or a value out of range.
   */
  perLayer(
    key: string,
    { range: [least, most], layers }: {
      readonly range: readonly [number, number];
      readonly layers: number;
    },
  ): readonly number[] | undefined {
    const value = this.#get(key);
    if (!Array.isArray(value) || value.every((item) => item === value[0])) return undefined;
    const valid = value.length === layers &&
      value.every((item) =>
        typeof item === "number" && Number.isInteger(item) && item >= least && item <= most
      );
    if (!valid) {
      throw this.#wrong(
        key,
        `${layers} whole numbers from ${least} to ${most}, one for each layer`,
      );
    }
    return value;
  }

  /** Like `integer`, but returns the first layer's value if an array's values differ. */
  first(key: string, range: readonly [number, number], fallback?: number): number {
    const value = this.#get(key);
    const differs = Array.isArray(value) && value.some((item) => item !== value[0]);
    return differs ? this.#integer(key, value[0], range) : this.integer(key, range, fallback);
  }

  /** @throws {ModelFormatError} if it is missing, or not a number above 0 and at most `most`. */
  positive(key: string, most: number, fallback?: number): number {
    const value = this.#one(key) ?? fallback;
    if (typeof value !== "number" || !(value > 0 && value <= most)) {
      throw this.#wrong(key, `a number above 0 and up to ${most}`);
    }
    return value;
  }

  /** @throws {ModelFormatError} if it is missing, or not a number within the range. */
  between(key: string, [least, most]: readonly [number, number], fallback?: number): number {
    const value = this.#get(key) ?? fallback;
    if (typeof value !== "number" || !(value >= least && value <= most)) {
      throw this.#wrong(key, `a number from ${least} to ${most}`);
    }
    return value;
  }

  /** @throws {ModelFormatError} if it is missing, or not an array of numbers within the range. */
  numbers(key: string, [least, most]: readonly [number, number]): readonly number[] {
    const value = this.#get(key);
    const valid = Array.isArray(value) &&
      value.every((item) => typeof item === "number" && item >= least && item <= most);
    if (!valid) throw this.#wrong(key, `an array of numbers from ${least} to ${most}`);
    return value as readonly number[];
  }

  /** @throws {ModelFormatError} if it is not true or false. */
  flag(key: string, fallback: boolean): boolean {
    const value = this.#get(key) ?? fallback;
    if (typeof value !== "boolean") throw this.#wrong(key, "true or false");
    return value;
  }

  /** @throws {ModelFormatError} if it is missing, or not an array of strings. */
  texts(key: string): readonly string[] {
    const value = this.#get(key);
    const valid = Array.isArray(value) && value.every((item) => typeof item === "string");
    if (!valid) throw this.#wrong(key, "an array of strings");
    return value as readonly string[];
  }

  /** Returns the length of the array, or undefined if the key is missing. */
  arrayLength(key: string): number | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw this.#wrong(key, "an array");
    return value.length;
  }

  /** Whether the top level of the JSON has the key, even with the value null. */
  states(key: string): boolean {
    return this.#json !== undefined && Object.hasOwn(this.#json, this.key(key));
  }

  has(key: string): boolean {
    this.#seen.add(this.key(key));
    return this.file.metadata.has(this.key(key)) || this.#odd(key) !== undefined;
  }

  /** Returns an error about the file's content. */
  fault(detail: string): ModelFormatError {
    return new ModelFormatError(`Cannot use ${printable(this.#path)}: ${detail}`);
  }

  unsupported(detail: string): UnsupportedError {
    return new UnsupportedError(`Cannot run ${printable(this.#path)}: ${detail}`);
  }

  /** Returns the value, or the common value of an array that has the same value for every layer. */
  #one(key: string): MetadataValue | undefined {
    const value = this.#get(key);
    if (!Array.isArray(value) || value.length === 0) return value;
    if (value.every((item) => item === value[0])) return value[0];
    throw this.unsupported(
      `key '${
        this.key(key)
      }' differs between layers, which tvllm does not support for this architecture`,
    );
  }

  #get(key: string): MetadataValue | undefined {
    const odd = this.#odd(key);
    if (odd !== undefined) {
      throw this.fault(
        `key ${quote(this.key(key))} is ${
          quote(JSON.stringify(odd))
        }, which is not a valid value; ` +
          `use another model`,
      );
    }
    return this.value(key);
  }

  /** Returns the JSON value of a key that the metadata lack; undefined if missing or null. */
  #odd(key: string): JsonValue | undefined {
    const name = this.key(key);
    if (this.#json === undefined || this.file.metadata.has(name)) return undefined;
    let value: JsonValue | undefined = this.#json;
    for (const part of name.split(".")) {
      const known: boolean = typeof value === "object" && value !== null &&
        !Array.isArray(value) && Object.hasOwn(value, part);
      value = known ? (value as JsonObject)[part] : undefined;
    }
    return value ?? undefined;
  }

  #wrong(key: string, wanted: string): ModelFormatError {
    const value = this.#get(key);
    const shown = value === undefined
      ? "missing"
      : Array.isArray(value)
      ? "an array"
      : typeof value === "string"
      ? quote(value)
      : String(value);
    return this.fault(
      `key ${quote(this.key(key))} is ${shown}, not ${wanted}; ` +
        `the file is damaged or was converted incorrectly: download or convert it again`,
    );
  }
}
