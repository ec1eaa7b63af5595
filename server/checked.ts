/** Checks the body of a request with a schema. */

import type { z } from "zod";
import { plural } from "../engine/plural.ts";
import { HttpError } from "./errors.ts";

/** Longest text of a value that an error quotes, in characters. */
const MOST_QUOTED = 60;

/**
 * Checks a body with a schema and returns its fields.
 *
 * @throws {HttpError} 400 that names the first invalid field, what it must be, and its value.
 */
export function checked<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const isKey = issue.code === "invalid_key";
  // The path of an invalid key ends with the key, which is no field.
  const path = isKey ? issue.path.slice(0, -1) : issue.path;
  const field = path.map(String).join(".");
  const where = field === "" ? "the body" : `'${field}'`;
  const value = isKey ? issue.path.at(-1) : valueAt(body, path);
  throw new HttpError(400, `Cannot use ${where}: ${expectation(issue)}, got ${quoted(value)}`, {
    ...(field !== "" && { param: field }),
    cause: result.error,
  });
}

/** Zod's names of types, in words. */
const TYPES: Readonly<Record<string, string>> = {
  int: "a whole number",
  number: "a number",
  string: "a text",
  boolean: "true or false",
  array: "a list",
  object: "an object",
  record: "an object",
};

/** What a limit counts, by Zod's names. */
const UNITS: Readonly<Record<string, string>> = { array: "item", string: "character" };

/** Returns what an issue's value must be. */
function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return `expected ${TYPES[issue.expected] ?? issue.expected}`;
    case "too_small":
      return `expected at least ${limit(issue.origin, issue.minimum)}`;
    case "too_big":
      return `expected at most ${limit(issue.origin, issue.maximum)}`;
    case "invalid_key":
      return expectation(issue.issues[0]!);
    default:
      return issue.message;
  }
}

function limit(origin: string, value: number | bigint): string {
  const unit = UNITS[origin];
  return unit === undefined ? `${value}` : `${value} ${plural(value, unit)}`;
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce((value, key) => (value as Record<PropertyKey, unknown>)?.[key], body);
}

function quoted(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = JSON.stringify(value);
  return text.length > MOST_QUOTED ? `${text.slice(0, MOST_QUOTED)}…` : text;
}
