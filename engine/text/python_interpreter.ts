/**
 * `@huggingface/jinja`'s interpreter with Python's semantics: values are written, compared,
 * iterated and looked up as in Jinja2. Steps are not counted here but in capped_interpreter.ts.
 */

import { Environment, Interpreter } from "./packages.ts";
import { FILTERS } from "./python_filters.ts";
import { percent } from "./python_format.ts";
import { TEXT_METHODS } from "./python_methods.ts";
import { test } from "./python_tests.ts";
import {
  characterAt,
  compare,
  contains,
  dictionaryOf,
  equal,
  functionOf,
  isNumber,
  itemsOf,
  listOf,
  pairsOf,
  textOf,
  tupleOf,
  valueOf,
} from "./python_values.ts";
import {
  isMap,
  isText,
  type ListValue,
  MAX_TEXT,
  strip,
  tooLong,
  type Value,
} from "./template_limits.ts";
import { type Argument, Evaluated, type Fields, type Node, statement } from "./template_nodes.ts";

/**
 * Nodes that produce their text themselves. Other nodes are expressions, whose value is written.
 */
const STATEMENTS: ReadonlySet<string> = new Set(
  "Program Set If For Macro CallStatement FilterStatement Break Continue Comment StringLiteral"
    .split(" "),
);

/** Methods that the library declares private. */
interface Hidden {
  evaluateBlock(statements: readonly Node[], environment: Environment): Value;
  evaluateArguments(
    args: readonly Argument[],
    environment: Environment,
  ): [Value[], Map<string, Value>];
}

export class PythonInterpreter extends Interpreter {
  readonly #hidden = this as unknown as Hidden;

  constructor(environment: Environment) {
    super(environment);
    const evaluateBlock = this.#hidden.evaluateBlock.bind(this);
    this.#hidden.evaluateBlock = (statements, scope) =>
      evaluateBlock(
        statements.map((node) =>
          STATEMENTS.has(node.type) ? node : statement("Written", { value: node })
        ),
        scope,
      );
  }

  override evaluate(node: Node | undefined, environment: Environment): Value {
    if (node instanceof Evaluated) return node.result;
    const fields = node as Fields;
    switch (node?.type) {
      case "Written":
        return valueOf(textOf(this.evaluate(fields.value as unknown as Node, environment)));
      case "Scoped":
        return this.#hidden.evaluateBlock(fields.body, new Environment(environment));
      case "ObjectLiteral":
        return this.#dictionary(fields, environment);
      case "BinaryExpression":
        return this.#binary(fields, environment);
      case "For":
        return this.#for(fields, environment);
      case "MemberExpression":
        return this.#member(fields, environment);
      case "FilterExpression":
        return this.#filter(fields, environment);
      case "TestExpression": {
        const { operand, test: { value: name }, negate } = fields;
        return valueOf(test(name, this.evaluate(operand, environment), []) !== negate);
      }
      default:
        return super.evaluate(node, environment);
    }
  }

  #dictionary(node: Fields, environment: Environment): Value {
    const entries = new Map<string | number, Value>();
    for (const [key, item] of node.value as unknown as Map<Node, Node>) {
      const { value } = this.evaluate(key, environment);
      if (typeof value !== "string" && typeof value !== "number") {
        throw new TypeError("dictionary keys must be strings or numbers");
      }
      entries.set(value, this.evaluate(item, environment));
    }
    return dictionaryOf(entries);
  }

  #binary(node: Fields, environment: Environment): Value {
    const operator = node.operator.value;
    // The right operand must only be evaluated if the left one does not decide the result.
    if (operator === "and" || operator === "or") return super.evaluate(node, environment);
    const left = this.evaluate(node.left, environment);
    const right = this.evaluate(node.right, environment);
    switch (operator) {
      case "==":
        return valueOf(equal(left, right));
      case "!=":
        return valueOf(!equal(left, right));
      case "in":
        return valueOf(contains(right, left));
      case "not in":
        return valueOf(!contains(right, left));
      case "~":
        return valueOf(textOf(left) + textOf(right));
    }
    if (/^[<>]=?$/.test(operator)) {
      const order = compare(left, right);
      return valueOf(
        order === 0 ? operator.endsWith("=") : order < 0 === operator.startsWith("<"),
      );
    }
    if (isText(left) && operator === "%") return valueOf(percent(left.value, right));
    if (operator === "%" && isNumber(left) && isNumber(right)) {
      // The result has the divisor's sign.
      const by = Number(right.value);
      if (by === 0) throw new Error("division by zero");
      const rest = Number(left.value) % by;
      return Object.assign(valueOf(isWhole(left) && isWhole(right) ? 0 : 0.5), {
        value: rest !== 0 && rest < 0 !== by < 0 ? rest + by : rest,
      });
    }
    if (operator === "*" && (isText(left) || isText(right))) {
      const [text, times] = isText(left) ? [left, right] : [right, left];
      if (times.type === "IntegerValue") return valueOf(repeat(text.value as string, times));
    }
    return super.evaluate(
      statement(node.type, { ...node, left: new Evaluated(left), right: new Evaluated(right) }),
      environment,
    );
  }

  /** Runs a loop. Variables that its body sets are discarded after each iteration. */
  #for(node: Fields, environment: Environment): Value {
    const { iterable, body } = node;
    const filtered = iterable.type === "SelectExpression";
    const value = this.evaluate(filtered ? iterable.lhs : iterable, environment);
    // Pairs may be tuples, which the library does not unpack.
    const items = itemsOf(value).map((item) =>
      item.type === "TupleValue" ? listOf((item as ListValue).value) : item
    );
    const known = new Evaluated(listOf(items));
    return super.evaluate(
      statement("For", {
        ...node,
        iterable: filtered ? { ...iterable, lhs: known } : known,
        body: [statement("Scoped", { body })],
      }),
      environment,
    );
  }

  #member(node: Fields, environment: Environment): Value {
    const object = this.evaluate(node.object, environment);
    const known = { ...node, object: new Evaluated(object) };
    const { property, computed } = node;
    if (computed && property.type !== "SliceExpression") {
      const { value: key } = this.evaluate(property, environment);
      if (isText(object) && typeof key === "number") {
        return valueOf(characterAt(object.value, key));
      }
      if (isMap(object) && typeof key === "number") {
        return (object.value as Map<unknown, Value>).get(key) ?? valueOf(undefined);
      }
      return super.evaluate(
        statement(node.type, { ...known, property: new Evaluated(valueOf(key)) }),
        environment,
      );
    }
    if (object.type === "ObjectValue" && isMap(object) && property.value === "items") {
      const own = object.value.get("items");
      if (own === undefined) return functionOf(() => listOf(pairsOf(object).map(tupleOf)));
    }
    if (isText(object) && property.type === "Identifier") {
      const method = this.#textMethod(object.value, property.value);
      if (method !== undefined) return method;
    }
    return super.evaluate(statement(node.type, known), environment);
  }

  #textMethod(text: string, name: string): Value | undefined {
    if (name === "strip" || name === "lstrip" || name === "rstrip") {
      return functionOf(([characters]) =>
        valueOf(
          strip(name, text, characters && isText(characters) ? characters.value : undefined),
        )
      );
    }
    if (!Object.hasOwn(TEXT_METHODS, name)) return undefined;
    return functionOf((args) => {
      const last = args.at(-1);
      const named = last?.type === "KeywordArgumentsValue" && isMap(last) ? last.value : undefined;
      const values = named === undefined ? args : args.slice(0, -1);
      return valueOf(TEXT_METHODS[name]!(text, values, named ?? new Map()));
    });
  }

  #filter(node: Fields, environment: Environment): Value {
    const operand = this.evaluate(node.operand, environment);
    const { filter } = node;
    const isCall = filter.type === "CallExpression";
    const name = isCall ? filter.callee.value : filter.value;
    const known = { ...node, operand: new Evaluated(operand) };
    if (!Object.hasOwn(FILTERS, name)) {
      return super.evaluate(statement(node.type, known), environment);
    }
    const [values, named] = isCall
      ? this.#hidden.evaluateArguments(filter.args, environment)
      : [[], new Map<string, Value>()];
    const apply = (name: string, operand: Value, values: readonly Value[]) => {
      const callee = statement("Identifier", { value: name });
      const args = values.map((value) => new Evaluated(value));
      return this.evaluate(
        statement("FilterExpression", {
          operand: new Evaluated(operand),
          filter: args.length > 0 ? statement("CallExpression", { callee, args }) : callee,
        }),
        environment,
      );
    };
    return FILTERS[name]!(operand, { values, named, apply });
  }
}

function isWhole(value: Value): boolean {
  return value.type !== "FloatValue";
}

function repeat(text: string, times: Value): string {
  const count = Math.max(0, Number(times.value));
  if (text.length * count > MAX_TEXT) throw tooLong();
  return text.repeat(count);
}
