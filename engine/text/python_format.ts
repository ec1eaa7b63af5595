/** Python's `"{}".format(…)` and `"%s" % …`, to the extent that chat templates use them. */

import { isList, isMap, MAX_TEXT, tooLong, type Value } from "./template_limits.ts";
import { isNumber, representation, textOf, typeName } from "./python_values.ts";

type Named = ReadonlyMap<string, Value>;

/** `{{`, `}}`, or a field with a name, `!r` or `!s`, and a specification. */
const FIELD = /\{\{|\}\}|\{([^{}!:]*)(?:!([rs]))?(?::([^{}]*))?\}|[{}]/g;
const SPECIFICATION =
  /^(?:(?<fill>.)?(?<align>[<>^=]))?(?<sign>[+ -])?(?<zero>0)?(?<width>\d*)(?<comma>,)?(?:\.(?<precision>\d+))?(?<type>[sdfxXob%])?$/su;

/** Returns a function that passes pieces through, and throws when they are too long in total. */
function bounded(): (piece: string) => string {
  let length = 0;
  return (piece) => {
    length += piece.length;
    if (length > MAX_TEXT) throw tooLong();
    return piece;
  };
}

/** `text.format(*values, **named)` */
export function format(text: string, values: readonly Value[], named: Named): string {
  const piece = bounded();
  let next = 0;
  return text.replace(FIELD, (match, ...groups) => {
    const [name, conversion, specification = ""] = groups as (string | undefined)[];
    if (match === "{{" || match === "}}") return match[0]!;
    if (name === undefined) throw new TypeError(`format() finds an unmatched '${match}'`);
    const [, first, rest] = /^([^.[]*)(.*)$/s.exec(name)!;
    const start = first === ""
      ? values[next++]
      : /^\d+$/.test(first!)
      ? values[Number(first)]
      : named.get(first!);
    const value = rest!.match(/[^.[\]]+/g)?.reduce(member, start) ?? start;
    if (value === undefined) throw new Error(`format() has no value for '{${name}}'`);
    if (conversion === "r") return piece(padded(representation(value), undefined, specification));
    return piece(
      conversion === "s" || !isNumber(value) || specification === ""
        ? padded(textOf(value), undefined, specification)
        : number(value, specification),
    );
  });
}

const CONVERSION =
  /%(?:\((?<name>[^)]*)\))?(?<flags>[-+ 0#]*)(?<width>\d*)(?:\.(?<precision>\d+))?(?<type>[%a-zA-Z])/g;

/** `text % values`; a single value need not be in a tuple. */
export function percent(text: string, operand: Value | readonly Value[]): string {
  const values = Array.isArray(operand)
    ? operand as readonly Value[]
    : (operand as Value).type === "TupleValue"
    ? (operand as Value & { value: Value[] }).value
    : [operand as Value];
  const piece = bounded();
  let next = 0;
  return text.replaceAll(CONVERSION, (_match, ...rest) => {
    const { name, flags, width, precision, type } = rest.at(-1) as Record<string, string>;
    if (type === "%") return "%";
    const value = name === undefined ? values[next++] : member(values[0], name);
    if (value === undefined) throw new Error("'%' has fewer values than placeholders");
    const sign = flags!.includes("+") ? "+" : flags!.includes(" ") ? " " : "";
    const digits = precision === undefined ? "" : `.${precision}`;
    if (type === "s" || type === "r") {
      const shown = type === "s" ? textOf(value) : representation(value);
      return piece(
        padded(shown, undefined, `${flags!.includes("-") ? "<" : ">"}${width}${digits}`),
      );
    }
    if (!isNumber(value)) throw new TypeError(`'%${type}' takes a number, not ${typeName(value)}`);
    const known: Record<string, string> = { i: "d", u: "d", F: "f" };
    const align = flags!.includes("-") ? "<" : "";
    const zero = flags!.includes("0") && align === "" ? "0" : "";
    return piece(number(value, `${align}${sign}${zero}${width}${digits}${known[type!] ?? type}`));
  });
}

function member(value: Value | undefined, key: string): Value | undefined {
  if (value === undefined) return undefined;
  if (isList(value)) return value.value[Number(key)];
  return isMap(value) ? value.value.get(key) : undefined;
}

function parsed(specification: string): Record<string, string | undefined> {
  const groups = SPECIFICATION.exec(specification)?.groups;
  if (groups === undefined) throw new SyntaxError(`format() does not support '${specification}'`);
  if (Number(groups.width) > MAX_TEXT || Number(groups.precision ?? 0) > 100) throw tooLong();
  return groups;
}

/**
 * Pads a string, or the digits of a number, to the width of the specification.
 *
 * @param sign the number's sign, which may be empty; undefined for a string
 */
function padded(text: string, sign: string | undefined, specification: string): string {
  const isText = sign === undefined;
  const { fill, align, zero, width, precision } = parsed(specification);
  const cut = isText && precision !== undefined
    ? Array.from(text).slice(0, Number(precision)).join("")
    : text;
  const filling = fill ?? (zero && !isText ? "0" : " ");
  const before = sign ?? "";
  const missing = Math.max(0, Number(width) - Array.from(before + cut).length);
  switch (align ?? (isText ? "<" : zero ? "=" : ">")) {
    case "<":
      return before + cut + filling.repeat(missing);
    case "^": {
      const left = Math.floor(missing / 2);
      return filling.repeat(left) + before + cut + filling.repeat(missing - left);
    }
    case "=":
      return before + filling.repeat(missing) + cut;
    default:
      return filling.repeat(missing) + before + cut;
  }
}

/** Rounds to a whole number as Python does: halves go to the even neighbour. */
export function halfToEven(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Formats a non-negative number with the given number of digits after the point. */
function fixed(value: number, digits: number): string {
  const scale = 10 ** digits;
  // toFixed rounds exact halves up. Only sums of powers of two can be exact halves.
  const isHalf = value * scale % 1 === 0.5 && Number.isInteger(value * 2 ** (digits + 1));
  return (isHalf ? halfToEven(value * scale) / scale : value).toFixed(digits);
}

function number(value: Value, specification: string): string {
  const { sign, comma, precision, type } = parsed(specification);
  const plain = Number(value.value);
  const size = Math.abs(plain);
  const bases: Record<string, number> = { x: 16, X: 16, o: 8, b: 2 };
  let digits: string;
  if (type === "f") digits = fixed(size, Number(precision ?? 6));
  else if (type === "%") digits = `${fixed(size * 100, Number(precision ?? 6))}%`;
  else if (type !== undefined && type in bases) digits = size.toString(bases[type]);
  else if (type === "d") digits = String(Math.trunc(size));
  else if (precision !== undefined) {
    digits = String(Number(size.toPrecision(Number(precision) || 1)));
  } else digits = textOf(value).replace(/^-/, "");
  if (type === "X") digits = digits.toUpperCase();
  if (comma) digits = digits.replace(/^\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ","));
  const negative = plain < 0 || Object.is(plain, -0) && value.type === "FloatValue";
  const shownSign = negative ? "-" : sign === "+" || sign === " " ? sign : "";
  return padded(digits, shownSign, specification);
}
