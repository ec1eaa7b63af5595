/** Tests of Jinja2, for `is` and for filters such as `selectattr`. Source: jinja2/tests.py. */

import { compare, contains, equal, isNumber, textOf } from "./python_values.ts";
import { isList, isText, type Value } from "./template_limits.ts";

type Test = (value: Value, others: readonly Value[]) => boolean;

const ORDERS: Readonly<Record<string, (order: number) => boolean>> = {
  lt: (order) => order < 0,
  le: (order) => order <= 0,
  gt: (order) => order > 0,
  ge: (order) => order >= 0,
};

export const isLower = (text: string) => text === text.toLowerCase() && /\p{Ll}/u.test(text);
export const isUpper = (text: string) => text === text.toUpperCase() && /\p{Lu}/u.test(text);
const isUndefined = ({ type }: Value) => type === "UndefinedValue";

const TESTS: Readonly<Record<string, Test>> = {
  boolean: ({ type }) => type === "BooleanValue",
  callable: ({ type }) => type === "FunctionValue",
  defined: (value) => !isUndefined(value),
  divisibleby: (value, [by]) => Number(value.value) % Number(by?.value) === 0,
  eq: (value, [other]) => equal(value, other!),
  even: (value) => Number(value.value) % 2 === 0,
  false: (value) => value.type === "BooleanValue" && !value.value,
  float: ({ type }) => type === "FloatValue",
  in: (value, [all]) => contains(all!, value),
  integer: ({ type }) => type === "IntegerValue",
  iterable: (value) =>
    isList(value) || isText(value) || isUndefined(value) || value.type === "ObjectValue",
  lower: (value) => isLower(textOf(value)),
  mapping: ({ type }) => type === "ObjectValue",
  ne: (value, [other]) => !equal(value, other!),
  none: ({ type }) => type === "NullValue",
  number: isNumber,
  odd: (value) => Math.abs(Number(value.value) % 2) === 1,
  sameas: (value, [other]) => value.type === other?.type && value.value === other.value,
  sequence: (value) =>
    isList(value) || isText(value) || isUndefined(value) || value.type === "ObjectValue",
  string: isText,
  true: (value) => value.type === "BooleanValue" && value.value === true,
  undefined: isUndefined,
  upper: (value) => isUpper(textOf(value)),
};

const OTHER_NAMES: Readonly<Record<string, string>> = {
  "==": "eq",
  equalto: "eq",
  "!=": "ne",
  "<": "lt",
  lessthan: "lt",
  "<=": "le",
  ">": "gt",
  greaterthan: "gt",
  ">=": "ge",
};

/** Whether the test with this name succeeds. */
export function test(name: string, value: Value, others: readonly Value[]): boolean {
  const known = Object.hasOwn(OTHER_NAMES, name) ? OTHER_NAMES[name]! : name;
  if (Object.hasOwn(ORDERS, known)) return ORDERS[known]!(compare(value, others[0]!));
  if (!Object.hasOwn(TESTS, known)) throw new SyntaxError(`Unknown test: ${name}`);
  return TESTS[known]!(value, others);
}
