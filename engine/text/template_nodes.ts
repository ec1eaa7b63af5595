/** Types of the nodes of a parsed template, as far as the interpreters read them. */

import type { Interpreter } from "./packages.ts";
import type { Value } from "./template_limits.ts";

export type Node = NonNullable<Parameters<Interpreter["evaluate"]>[0]>;

/** The fields of all nodes. A node's type determines which of them it has. */
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

/** A node with a value that is already known, so that nothing is evaluated twice. */
export class Evaluated implements Node {
  readonly type = "Evaluated";
  constructor(readonly result: Value) {}
}

/** Returns a node for the interpreter, which distinguishes nodes by `type` only. */
export function statement(type: string, fields: object): Node {
  return { ...fields, type };
}
