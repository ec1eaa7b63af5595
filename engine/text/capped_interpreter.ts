/**
 * `@huggingface/jinja`'s interpreter with limits. Templates come with model files, so a hostile one
 * must fail soon and with little memory. Loops, recursion and growth are therefore counted, and the
 * size of a result is estimated before an operation that could create a large one.
 */

import type { Environment } from "./packages.ts";
import { PythonInterpreter } from "./python_interpreter.ts";
import {
  checkCharacters,
  checkReplace,
  checkSplit,
  type FunctionValue,
  isList,
  isMap,
  isText,
  MAX_ARRAY,
  MAX_DEPTH,
  MAX_NESTING,
  MAX_TEXT,
  MAX_WORK,
  occurrences,
  range,
  spread,
  TemplateLimitError,
  tooLong,
  tooManyElements,
  tooNested,
  type Value,
} from "./template_limits.ts";
import { type Argument, Evaluated, type Fields, type Node, statement } from "./template_nodes.ts";

/** The size of a value when it is written as text. */
interface Size {
  readonly chars: number;
  readonly nodes: number;
  readonly depth: number;
  /** Whether the value contains no namespace, so that its size cannot change. */
  readonly fixed: boolean;
}

/**
 * Longest run time of a template in ms, and the number of steps between two checks of the clock.
 */
const MAX_TIME = 10_000;
const LOOK = 1000;

/** Filters whose time does not depend on the length of a list. */
const INSTANT_FILTERS: ReadonlySet<string> = new Set(["length", "count", "first", "last"]);

/** Filters that convert a string to a list of its characters. */
const CHARACTER_FILTERS: ReadonlySet<string> = new Set(
  "join list map max min reject rejectattr reverse select selectattr sort sum unique".split(" "),
);

const LEAF: Size = { chars: 8, nodes: 1, depth: 0, fixed: true };

export class CappedInterpreter extends PythonInterpreter {
  readonly #allowed: number;
  readonly #started = performance.now();
  #work = 0;
  #looked = 0;
  #depth = 0;
  readonly #sizes = new WeakMap<object, Size>();

  /**
   * @param templateLength characters of the template, which bound the cost of scanning a macro
   * @param inputLength characters of the messages and variables
   */
  constructor(
    environment: Environment,
    readonly templateLength: number,
    inputLength: number,
  ) {
    super(environment);
    this.#allowed = MAX_WORK + inputLength;
    environment.set(
      "range",
      (start: unknown, stop?: unknown, step?: unknown) => {
        const numbers = range(start, stop, step);
        this.#charge(numbers.length);
        return numbers;
      },
    );
  }

  override evaluate(node: Node | undefined, environment: Environment): Value {
    if (node instanceof Evaluated) return node.result;
    if (node === undefined) return super.evaluate(node, environment);
    this.#charge(1);
    if (this.#depth >= MAX_DEPTH) {
      throw new TemplateLimitError(`it is nested more than ${MAX_DEPTH} levels deep`);
    }
    this.#depth++;
    try {
      const value = this.#evaluate(node as Fields, environment);
      this.#check(value, node.type === "Identifier");
      return value;
    } finally {
      this.#depth--;
    }
  }

  #evaluate(node: Fields, environment: Environment): Value {
    switch (node.type) {
      case "Written": {
        const value = this.evaluate(node.value as unknown as Node, environment);
        if (isList(value) || isMap(value)) {
          this.#chargeText(value);
        }
        return super.evaluate(
          statement(node.type, { value: new Evaluated(value) }),
          environment,
        );
      }
      case "Identifier":
        return this.#lookup(node.value, environment);
      case "MemberExpression":
        return this.#member(node, environment);
      case "BinaryExpression":
        return this.#binary(node, environment);
      case "For":
        return this.#for(node, environment);
      case "FilterExpression":
        return this.#filter(node.operand, node.filter, environment);
      case "FilterStatement":
        return this.#filter(statement("Program", { body: node.body }), node.filter, environment);
      case "Break":
      case "Continue":
        // The library throws and catches them as errors.
        this.#charge(32);
        return super.evaluate(node, environment);
      case "Macro":
      case "CallStatement":
        // The library searches the whole body for `kwargs` and `varargs`.
        this.#charge(this.templateLength / 8);
        return super.evaluate(node, environment);
      default:
        return super.evaluate(node, environment);
    }
  }

  /**
   * Looks a variable up. The library throws and catches an error for each unknown name, which takes
   * ten times longer.
   */
  #lookup(name: string, environment: Environment): Value {
    for (let scope: Environment | undefined = environment; scope; scope = scope.parent) {
      const value = scope.variables.get(name);
      if (value !== undefined) return value;
    }
    return super.evaluate(undefined, environment);
  }

  /**
   * Charges for both operands in full, because comparing, searching and joining read all of them.
   */
  #binary(node: Fields, environment: Environment): Value {
    const operator = node.operator.value;
    // The right operand must only be evaluated if the left one does not decide the result.
    if (operator === "and" || operator === "or") return super.evaluate(node, environment);
    const left = this.evaluate(node.left, environment);
    const right = this.evaluate(node.right, environment);
    const [a, b] = [this.#size(left, 0), this.#size(right, 0)];
    if (operator === "~") [left, right].forEach((side) => this.#chargeText(side));
    if (operator === "%" && isText(left)) this.#chargeFormat(left.value, "%", [right]);
    this.#charge((a.nodes + b.nodes) / 8 + (a.chars + b.chars) / 256);
    // In the worst case, `in` compares at each position of the string, or with each element.
    if (operator.endsWith("in")) this.#charge(a.chars * (isText(right) ? b.chars : b.nodes) / 4096);
    const known = statement(node.type, {
      ...node,
      left: new Evaluated(left),
      right: new Evaluated(right),
    });
    return super.evaluate(known, environment);
  }

  /** Charges for writing a value as text. */
  #chargeText(value: Value): void {
    const { chars, nodes } = this.#size(value, 0);
    this.#charge(nodes + chars / 32);
  }

  #for(node: Fields, environment: Environment): Value {
    const { iterable } = node;
    const filtered = iterable.type === "SelectExpression";
    const list = this.evaluate(filtered ? iterable.lhs : iterable, environment);
    if (isList(list)) this.#charge(4 * list.value.length);
    if (isText(list)) {
      checkCharacters(list.value);
      this.#charge(4 * list.value.length);
    }
    const known = new Evaluated(list);
    return super.evaluate(
      statement("For", { ...node, iterable: filtered ? { ...iterable, lhs: known } : known }),
      environment,
    );
  }

  #member(node: Fields, environment: Environment): Value {
    const object = this.evaluate(node.object, environment);
    if (isText(object) && node.property.type === "SliceExpression") {
      checkCharacters(object.value);
      this.#charge(object.value.length / 8);
    } // The character at an index.
    else if (isText(object) && node.computed) this.#charge(object.value.length / 32);
    const known = statement("MemberExpression", { ...node, object: new Evaluated(object) });
    const value = super.evaluate(known, environment);
    if (value.type !== "FunctionValue") return value;
    if (isList(object) || isMap(object)) {
      this.#charge(object.value instanceof Map ? object.value.size / 8 : object.value.length / 8);
    }
    if (!isText(object)) return value;
    // A string method is checked when it is called, which may be in another expression.
    const method = value as FunctionValue;
    const { value: name } = node.property;
    const checked = (args: Value[], scope: Environment) => {
      this.#checkMethod(name, object.value, args);
      return method.value(args, scope);
    };
    return Object.assign(Object.create(Object.getPrototypeOf(method)), method, { value: checked });
  }

  /** Charges for formatting. In the worst case each placeholder writes all of the values. */
  #chargeFormat(text: string, sign: string, values: readonly Value[]): void {
    const places = occurrences(text, sign, Infinity);
    for (const value of values) {
      const { chars, nodes } = this.#size(value, 0);
      this.#charge(places * (nodes + chars / 32));
    }
  }

  #checkMethod(name: string, text: string, args: readonly Value[]): void {
    const [first, second] = args;
    this.#charge(text.length / 256);
    // strip searches for each character of the text among the ones to strip, and startswith
    // compares each of several prefixes.
    if (isText(first)) this.#charge(text.length * first.value.length / 65_536);
    else if (first !== undefined && isList(first)) this.#charge(this.#size(first, 0).chars / 32);
    if (name.endsWith("strip") || name === "trim") this.#charge(text.length / 64);
    if (name === "format") this.#chargeFormat(text, "{", args);
    if (name === "splitlines") checkSplit(text, "\n");
    if (name === "join" && first !== undefined) {
      const { chars, nodes } = this.#size(first, 0);
      if (isText(first)) checkCharacters(first.value);
      const parts = isText(first) ? chars : nodes;
      if (parts * text.length > MAX_TEXT) throw tooLong();
      this.#charge(parts + chars / 32);
    }
    if (name === "split") {
      checkSplit(text, isText(first) && first.value !== "" ? first.value : undefined);
    } else if (name === "replace" && isText(first) && isText(second)) {
      // The library uses a regular expression: in the worst case text × pattern comparisons.
      this.#charge(text.length * first.value.length / 4096);
      checkReplace(text, first.value, second.value);
    }
  }

  #filter(operandNode: Node, filter: Fields, environment: Environment): Value {
    const operand = this.evaluate(operandNode, environment);
    const isCall = filter.type === "CallExpression";
    const args = isCall ? filter.args.map((arg) => this.#argument(arg, environment)) : [];
    const name = isCall ? filter.callee.value : filter.value;
    if (isText(operand)) {
      this.#checkMethod(name, operand.value, args.map(({ value }) => value));
    }
    this.#checkGrowth(
      name,
      operand,
      args.flatMap(({ value, isSpread }) => isSpread ? spread(value) : [value]),
    );
    const nodes = args.map(({ node }) => node);
    return super.evaluate(
      statement("FilterExpression", {
        operand: new Evaluated(operand),
        filter: isCall ? { ...filter, args: nodes } : filter,
      }),
      environment,
    );
  }

  /** Evaluates an argument. Returns its value, and a node with that value in place. */
  #argument(
    arg: Argument,
    environment: Environment,
  ): { value: Value; node: Node; isSpread: boolean } {
    const isNamed = arg.type === "KeywordArgumentExpression";
    const isSpread = arg.type === "SpreadExpression" || arg.type === "KeywordSpreadExpression";
    const value = this.evaluate(isNamed ? arg.value : isSpread ? arg.argument : arg, environment);
    const known = new Evaluated(value);
    if (isNamed) return { value, isSpread, node: statement(arg.type, { ...arg, value: known }) };
    if (isSpread) {
      return { value, isSpread, node: statement(arg.type, { ...arg, argument: known }) };
    }
    // Some filters require a literal.
    return { value, isSpread, node: arg.type === "StringLiteral" ? arg : known };
  }

  /** Charges for a filter that splits its operand, and checks the size if it inserts text in it. */
  #checkGrowth(name: string, operand: Value, args: readonly Value[]): void {
    const { chars, nodes, depth } = this.#size(operand, 0);
    if (name === "sort" || name === "dictsort") {
      this.#charge((2 * nodes + chars / 4) * Math.max(1, Math.log2(nodes) / 4));
    } else if (isText(operand)) this.#charge(chars / 64);
    else if (isList(operand) && !INSTANT_FILTERS.has(name)) this.#charge(operand.value.length / 8);
    if (isText(operand) && CHARACTER_FILTERS.has(name)) {
      checkCharacters(operand.value);
      this.#charge(chars);
    }
    if (name === "format" && isText(operand)) this.#chargeFormat(operand.value, "%", args);
    // The filter looks up the attribute in each item, and compares the value with the other
    // arguments.
    if (/^(?:select|reject|map$|max$|min$|sum$)/.test(name)) {
      for (const arg of args) {
        const size = this.#size(arg, 0);
        this.#charge(nodes * (size.nodes / 8 + size.chars / 64));
      }
    }
    const parts: Record<string, number> = {
      join: isText(operand) ? chars : nodes,
      indent: isText(operand) ? occurrences(operand.value, "\n", Infinity) + 1 : 0,
      tojson: nodes * (depth + 1),
    };
    let each = 4;
    for (const arg of args) {
      each += typeof arg.value === "number" ? Math.abs(arg.value) : this.#size(arg, 0).chars;
    }
    // Not written as "above the limit", because NaN (as from 0/0) must fail too.
    if (!(chars + (parts[name] ?? 0) * each <= MAX_TEXT)) throw tooLong();
  }

  /** Checks a value against the limits. Reading a variable costs less than creating a value. */
  #check(value: Value, isVariable: boolean): void {
    if (isText(value)) {
      if (value.value.length > MAX_TEXT) throw tooLong();
      this.#charge(value.value.length / (isVariable ? 256 : 32));
    } else if (isList(value) || isMap(value)) {
      const size = this.#size(value, 0);
      if (size.chars + size.nodes > MAX_TEXT) throw tooLong();
      if (isList(value) && !isVariable) this.#charge(value.value.length / 8);
    }
  }

  #size(value: Value, level: number): Size {
    if (isText(value)) return { ...LEAF, chars: value.value.length };
    if (!isList(value) && !isMap(value)) return LEAF;
    const known = this.#sizes.get(value);
    if (known !== undefined) return known;
    if (level >= MAX_NESTING) throw tooNested();
    if (isList(value) && value.value.length > MAX_ARRAY) throw tooManyElements();
    let { chars, nodes, depth } = LEAF;
    let fixed = value.type !== "NamespaceValue";
    for (const [key, child] of value.value.entries()) {
      this.#charge(1 / 2);
      const size = this.#size(child, level + 1);
      chars += size.chars + String(key).length;
      nodes += size.nodes;
      depth = Math.max(depth, size.depth + 1);
      fixed &&= size.fixed;
    }
    if (depth > MAX_NESTING) throw tooNested();
    const size = { chars, nodes, depth, fixed };
    if (fixed) this.#sizes.set(value, size);
    return size;
  }

  #charge(work: number): void {
    this.#work += work;
    if (this.#work > this.#allowed) {
      throw new TemplateLimitError(`it takes more than ${this.#allowed} steps`);
    }
    // The clock stops templates whose cost the steps underestimate.
    if (this.#work - this.#looked < LOOK) return;
    this.#looked = this.#work;
    if (performance.now() - this.#started > MAX_TIME) {
      throw new TemplateLimitError(`it takes more than ${MAX_TIME / 1000} s`);
    }
  }
}
