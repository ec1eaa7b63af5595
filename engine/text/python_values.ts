/**
 * Python's semantics for the values of a template: how they are written, compared and iterated.
 * `@huggingface/jinja` has JavaScript's semantics: `1 == "1"` is true, and None is written as
 * nothing.
 */

import { Environment, Interpreter } from "./packages.ts";
import {
  type FunctionValue,
  isList,
  isMap,
  isText,
  type ListValue,
  type MapValue,
  type Value,
} from "./template_limits.ts";

/** Converts a JavaScript value to a value of the library. */
export function valueOf(plain: unknown): Value {
  return new Environment().set("value", plain);
}

/** Returns a list of values. */
export function listOf(items: Value[]): ListValue {
  return Object.assign(valueOf([]), { value: items });
}

/** Returns a tuple of values. */
export function tupleOf(items: Value[]): ListValue {
  const empty = { type: "TupleLiteral", value: [] };
  return Object.assign(new Interpreter().evaluate(empty, new Environment()), { value: items });
}

/** Returns a function that a template can call. */
export function functionOf(call: FunctionValue["value"]): FunctionValue {
  return Object.assign(valueOf(() => null), { value: call });
}

/**
 * Returns a dictionary. Unlike in the library's own dictionaries, keys that are numbers stay
 * numbers: the library lists every key as a string.
 */
export function dictionaryOf(entries: Map<string | number, Value>): MapValue {
  const made = Object.assign(valueOf({}), { value: entries }) as MapValue;
  if ([...entries.keys()].every((key) => typeof key === "string")) return made;
  const get: FunctionValue["value"] = ([key, other]) =>
    made.value.get(key?.value as string) ?? other ?? valueOf(null);
  const pairs = () => listOf(pairsOf(made).map(tupleOf));
  const methods: Record<string, FunctionValue["value"]> = {
    get,
    items: pairs,
    keys: () => listOf(itemsOf(made)),
    values: () => listOf([...made.value.values()]),
  };
  const builtins = new Map(Object.entries(methods).map(([name, f]) => [name, functionOf(f)]));
  return Object.defineProperties(made, {
    builtins: { value: builtins },
    items: { value: pairs },
    keys: { value: () => listOf(itemsOf(made)) },
  });
}

/** Returns the pairs of keys and values of a dictionary. */
export function pairsOf(map: MapValue): [Value, Value][] {
  return [...map.value].map(([key, value]) => [valueOf(key), value]);
}

/**
 * Returns the items of a loop over the value: the characters of a string, the keys of a dictionary,
 * nothing for an undefined value.
 *
 * @throws {TypeError} if the value is not iterable.
 */
export function itemsOf(value: Value): Value[] {
  if (isList(value)) return value.value;
  if (isText(value)) return Array.from(value.value, valueOf);
  if (value.type === "ObjectValue") return [...(value as MapValue).value.keys()].map(valueOf);
  if (value.type === "UndefinedValue") return [];
  throw new TypeError(`${typeName(value)} is not iterable`);
}

/** Python's `bool`: an empty value, 0 and None are false. */
export function isTrue(value: Value): boolean {
  return value.__bool__().value;
}

export function isNumber(value: Value): boolean {
  return value.type === "IntegerValue" || value.type === "FloatValue" ||
    value.type === "BooleanValue";
}

/** Python's `==`. */
export function equal(a: Value, b: Value): boolean {
  if (isNumber(a) && isNumber(b)) return Number(a.value) === Number(b.value);
  if (a.type !== b.type) return false;
  if (isList(a) && isList(b)) {
    return a.value.length === b.value.length &&
      a.value.every((item, i) => equal(item, b.value[i]!));
  }
  if (a.type === "ObjectValue" && isMap(a) && isMap(b)) {
    return a.value.size === b.value.size && [...a.value].every(([key, value]) => {
      const other = b.value.get(key);
      return other !== undefined && equal(value, other);
    });
  }
  return a.value === b.value;
}

/** Python's `in`. */
export function contains(all: Value, part: Value): boolean {
  if (isText(all)) {
    if (!isText(part)) throw new TypeError(`'in <string>' takes a string, not ${typeName(part)}`);
    return all.value.includes(part.value);
  }
  if (all.type === "ObjectValue") return (all as MapValue).value.has(part.value as string);
  return itemsOf(all).some((item) => equal(item, part));
}

/** Negative if `a` comes before `b`, 0 if they are equal. Strings are compared by code points. */
export function compare(a: Value, b: Value): number {
  if (isNumber(a) && isNumber(b)) return Number(a.value) - Number(b.value);
  if (isText(a) && isText(b)) {
    let at = 0;
    while (at < a.value.length && a.value[at] === b.value[at]) at++;
    return order(a.value.charCodeAt(at)) - order(b.value.charCodeAt(at));
  }
  if (isList(a) && isList(b)) {
    const at = a.value.findIndex((item, i) => i >= b.value.length || !equal(item, b.value[i]!));
    if (at < 0) return a.value.length - b.value.length;
    return at < b.value.length ? compare(a.value[at]!, b.value[at]!) : 1;
  }
  throw new TypeError(`${typeName(a)} and ${typeName(b)} cannot be ordered`);
}

/** Rank of a code unit, or of the end (NaN), in the order of code points: surrogates come last. */
function order(unit: number): number {
  if (Number.isNaN(unit)) return -1;
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** Returns the character at the index, which counts from the end if it is negative. */
export function characterAt(text: string, index: number): string | undefined {
  const part = index < 0 ? text.slice(2 * index) : text.slice(0, 2 * (index + 1));
  return Array.from(part).at(index);
}

/** Python's `str`. */
export function textOf(value: Value): string {
  return isText(value) ? value.value : representation(value);
}

/** Python's `repr`. */
export function representation(value: Value): string {
  switch (value.type) {
    case "StringValue":
      return quoted(value.value as string);
    case "NullValue":
      return "None";
    case "UndefinedValue":
      return "";
    case "BooleanValue":
      return value.value ? "True" : "False";
    case "IntegerValue":
      return Math.abs(value.value as number) < 1e21
        ? String(value.value)
        : String(BigInt(value.value as number));
    case "FloatValue":
      return float(value.value as number);
    case "ArrayValue":
      return `[${(value as ListValue).value.map(representation).join(", ")}]`;
    case "TupleValue": {
      const items = (value as ListValue).value.map(representation);
      return items.length === 1 ? `(${items[0]},)` : `(${items.join(", ")})`;
    }
    case "FunctionValue":
      return "<function>";
    default: {
      const pairs = [...(value as MapValue).value].map(([key, item]) =>
        `${representation(valueOf(key))}: ${representation(item)}`
      );
      return value.type === "NamespaceValue"
        ? `<Namespace {${pairs.join(", ")}}>`
        : `{${pairs.join(", ")}}`;
    }
  }
}

/** Returns a name of the value's type for error messages. */
export function typeName(value: Value): string {
  const names: Record<string, string> = {
    NullValue: "None",
    UndefinedValue: "an undefined value",
    IntegerValue: "an integer",
    FloatValue: "a float",
    BooleanValue: "a boolean",
    StringValue: "a string",
    FunctionValue: "a function",
  };
  return names[value.type] ?? (isList(value) ? "a list" : "a dictionary");
}

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const short: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };
  const escaped = text.replace(/[\\'"]|(?! )[\p{C}\p{Z}]/gu, (c) => {
    if (c === "'" || c === '"') return c === quote ? `\\${c}` : c;
    const code = c.codePointAt(0)!;
    const hex = code.toString(16);
    return short[c] ??
      (code < 0x100
        ? `\\x${hex.padStart(2, "0")}`
        : code < 0x10000
        ? `\\u${hex.padStart(4, "0")}`
        : `\\U${hex.padStart(8, "0")}`);
  });
  return quote + escaped + quote;
}

/** Formats a number in Python's layout, with the fewest digits that identify it. */
function float(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  const [digits, exponent] = value.toExponential().split("e") as [string, string];
  const power = Number(exponent);
  if (value !== 0 && (power < -4 || power >= 16)) {
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}
