/** The nodes of a parsed template, as far as the interpreter's limits look into them. */

import type { Interpreter } from "./packages.ts";
import type { Value } from "./template_limits.ts";

export type Node = NonNullable<Parameters<Interpreter["evaluate"]>[0]>;

/** The fields of nodes; which of them a node has follows from its type. */
export interface Fields extends Node {
  readonly value: string;
  readonly object: Node;
  readonly property: Fields;
  readonly computed: boolean;
  readonly operand: Node;
  readonly filter: Fields;
  readonly callee: Fields;
  readonly args: readonly Argument[];
  readonly iterable: Fields;
  readonly lhs: Node;
  readonly left: Node;
  readonly right: Node;
  readonly operator: { readonly value: string };
  readonly body: readonly Node[];
  readonly test: Fields;
  readonly negate: boolean;
}

export interface Argument extends Node {
  readonly value: Node;
  readonly argument: Node;
}

/** A node that stands for a value already known, so that nothing is evaluated twice. */
export class Evaluated implements Node {
  readonly type = "Evaluated";
  constructor(readonly result: Value) {}
}

/** A node as the interpreter takes it: it goes by `type` alone. */
export function statement(type: string, fields: object): Node {
  return { ...fields, type };
}
