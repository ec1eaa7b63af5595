/**
 * Filters of Jinja2 that `@huggingface/jinja` lacks, or that it implements differently. The
 * library's own implementation is used for all others. Source: jinja2/filters.py.
 */

import { halfToEven, percent } from "./python_format.ts";
import { TEXT_METHODS } from "./python_methods.ts";
import { test } from "./python_tests.ts";
import {
  characterAt,
  compare,
  isNumber,
  isTrue,
  itemsOf,
  listOf,
  pairsOf,
  textOf,
  tupleOf,
  typeName,
  valueOf,
} from "./python_values.ts";
import { isList, isMap, isText, type MapValue, strip, type Value } from "./template_limits.ts";

/** The arguments of a filter besides its operand. */
export interface FilterArguments {
  readonly values: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
  /** Returns the result of another filter, for `map`. */
  apply(name: string, operand: Value, values: readonly Value[]): Value;
}

type Filter = (operand: Value, args: FilterArguments) => Value;

/** Returns an element by its path of names separated by dots, or by its index. */
function attribute(value: Value, path: Value | undefined): Value {
  const parts = typeof path?.value === "number" ? [path.value] : String(path?.value).split(".");
  let item = value;
  for (const part of parts) {
    const key = /^\d+$/.test(String(part)) ? Number(part) : part;
    let found: Value | undefined;
    if (isList(item)) {
      const items: Value[] = item.value;
      found = typeof key === "number" ? items.at(key) : undefined;
    } else if (isMap(item)) found = item.value.get(part as string) ?? item.value.get(key as string);
    item = found ?? valueOf(undefined);
  }
  return item;
}

/** `select` and its relatives. If the operand is false or None, the result is empty. */
function select(byAttribute: boolean, wanted: boolean): Filter {
  return (operand, { values }) => {
    if (!isTrue(operand)) return listOf([]);
    const [name, ...rest] = byAttribute ? values.slice(1) : values;
    const chosen = itemsOf(operand).filter((item) => {
      const value = byAttribute ? attribute(item, values[0]) : item;
      return (name === undefined ? isTrue(value) : test(textOf(name), value, rest)) === wanted;
    });
    return listOf(chosen);
  };
}

function map(operand: Value, { values, named, apply }: FilterArguments): Value {
  if (!isTrue(operand)) return listOf([]);
  const path = named.get("attribute");
  const [name, ...rest] = values;
  if (path === undefined && name === undefined) {
    throw new TypeError("map takes the name of a filter");
  }
  return listOf(
    itemsOf(operand).map((item) => {
      if (path === undefined) return apply(textOf(name!), item, rest);
      const found = attribute(item, path);
      return found.type === "UndefinedValue" ? named.get("default") ?? found : found;
    }),
  );
}

/** `min` and `max`. Of equal items, the first is returned. */
function extreme(sign: 1 | -1): Filter {
  return (operand, { named }) => {
    const path = named.get("attribute");
    const key = (item: Value) => {
      const value = path === undefined ? item : attribute(item, path);
      return isText(value) && !(named.has("case_sensitive") && isTrue(named.get("case_sensitive")!))
        ? valueOf(value.value.toLowerCase())
        : value;
    };
    let best: Value | undefined;
    for (const item of itemsOf(operand)) {
      if (best === undefined || sign * compare(key(item), key(best)) < 0) best = item;
    }
    return best ?? valueOf(undefined);
  };
}

function dictsort(operand: Value, { values, named }: FilterArguments): Value {
  if (operand.type !== "ObjectValue") throw new TypeError("dictsort takes a dictionary");
  const [caseSensitive, by, reverse] = ["case_sensitive", "by", "reverse"].map((name, i) =>
    values[i] ?? named.get(name)
  );
  const at = by !== undefined && textOf(by) === "value" ? 1 : 0;
  const key = (pair: [Value, Value]) => {
    const value = pair[at];
    const folded = isText(value) && !(caseSensitive !== undefined && isTrue(caseSensitive));
    return folded ? valueOf(value.value.toLowerCase()) : value;
  };
  const sign = reverse !== undefined && isTrue(reverse) ? -1 : 1;
  const pairs = pairsOf(operand as MapValue).sort((a, b) => sign * compare(key(a), key(b)));
  return listOf(pairs.map(tupleOf));
}

function join(operand: Value, { values, named }: FilterArguments): Value {
  const separator = values[0] ?? named.get("d");
  const path = values[1] ?? named.get("attribute");
  const items = itemsOf(operand).map((item) => textOf(path ? attribute(item, path) : item));
  return valueOf(items.join(separator === undefined ? "" : textOf(separator)));
}

function length(operand: Value): Value {
  if (isMap(operand)) return valueOf(operand.value.size);
  if (isText(operand)) {
    return valueOf(
      operand.value.length - (operand.value.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0),
    );
  }
  return valueOf(itemsOf(operand).length);
}

function byDefault(operand: Value, { values, named }: FilterArguments): Value {
  const instead = values[0] ?? named.get("default_value") ?? valueOf("");
  const falseToo = values[1] ?? named.get("boolean");
  const missing = operand.type === "UndefinedValue" ||
    (falseToo !== undefined && isTrue(falseToo) && !isTrue(operand));
  return missing ? instead : operand;
}

function round(operand: Value, { values, named }: FilterArguments): Value {
  if (!isNumber(operand)) throw new TypeError(`round takes a number, not ${typeName(operand)}`);
  const scale = 10 ** Number((values[0] ?? named.get("precision"))?.value ?? 0);
  const method = values[1] ?? named.get("method");
  const scaled = Number(operand.value) * scale;
  const whole = method === undefined || textOf(method) === "common"
    ? halfToEven(scaled)
    : textOf(method) === "ceil"
    ? Math.ceil(scaled)
    : Math.floor(scaled);
  const rounded = whole / scale;
  return operand.type === "FloatValue" || method !== undefined
    ? floatOf(rounded)
    : valueOf(rounded);
}

function floatOf(value: number): Value {
  return Object.assign(valueOf(0.5), { value });
}

/** `first` and `last`. */
const end = (at: 0 | -1): Filter => (operand) =>
  isText(operand)
    ? valueOf(characterAt(operand.value, at))
    : itemsOf(operand).at(at) ?? valueOf(undefined);

/** Returns a filter that converts its operand to text first. */
const ofText = (make: (text: string) => string): Filter => (operand) =>
  valueOf(make(textOf(operand)));

export const FILTERS: Readonly<Record<string, Filter>> = {
  capitalize: ofText((text) => String(TEXT_METHODS.capitalize!(text, [], new Map()))),
  count: length,
  d: byDefault,
  default: byDefault,
  dictsort,
  first: end(0),
  format: (operand, { values, named }) =>
    valueOf(percent(textOf(operand), named.size > 0 ? [objectOf(named)] : values)),
  items: (operand) =>
    operand.type === "UndefinedValue" ? listOf([]) : listOf(pairsOf(mapping(operand)).map(tupleOf)),
  join,
  last: end(-1),
  length,
  list: (operand) => listOf([...itemsOf(operand)]),
  lower: ofText((text) => text.toLowerCase()),
  map,
  max: extreme(-1),
  min: extreme(1),
  reject: select(false, false),
  rejectattr: select(true, false),
  reverse: (operand) =>
    isText(operand)
      ? valueOf([...operand.value].reverse().join(""))
      : listOf([...itemsOf(operand)].reverse()),
  round,
  select: select(false, true),
  selectattr: select(true, true),
  string: ofText((text) => text),
  sum: (operand, { named }) => {
    const path = named.get("attribute");
    const parts = itemsOf(operand).map((item) => path === undefined ? item : attribute(item, path));
    const sum = parts.reduce((total, part) => total + Number(part.value), 0);
    return parts.some(({ type }) => type === "FloatValue") ? floatOf(sum) : valueOf(sum);
  },
  trim: (operand, { values, named }) => {
    const characters = values[0] ?? named.get("chars");
    const given = characters === undefined || !isText(characters) ? undefined : characters.value;
    return valueOf(strip("strip", textOf(operand), given));
  },
  upper: ofText((text) => text.toUpperCase()),
};

function objectOf(named: ReadonlyMap<string, Value>): Value {
  return Object.assign(valueOf({}), { value: new Map(named) });
}

function mapping(value: Value): MapValue {
  if (value.type === "ObjectValue") return value as MapValue;
  throw new TypeError(`items takes a dictionary, not ${typeName(value)}`);
}
