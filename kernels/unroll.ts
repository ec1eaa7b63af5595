/** Unrolls WGSL loops of fixed length. */

const CONSTANT = /^const (\w+) = ([\w */]+);/gm;
const LOOP = /for \(var (\w+) = (\d+)u; \1 < ([\w */]+); \1\+\+\) \{/;

/**
 * Unrolls every loop whose length is known from its literals and `const` lines. Each iteration
 * becomes a block of its own, with the counter as a `const`. The reason: WebGPU implementations add
 * a counter to loops so that they always end, and software drivers keep it when they unroll a loop.
 * Every assignment in the body then costs a select, and compile times explode.
 */
export function unrollLoops(source: string): string {
  const constants = new Map<string, number>();
  for (const [, name, expression] of source.matchAll(CONSTANT)) {
    const value = evaluate(expression!, constants);
    if (value !== undefined) constants.set(name!, value);
  }
  return unroll(source, constants);
}

function unroll(source: string, constants: ReadonlyMap<string, number>): string {
  const loop = LOOP.exec(source);
  if (loop === null) return source;
  const [head, name, first, bound] = loop;
  const start = loop.index + head.length;
  const end = closingBrace(source, start);
  const body = unroll(source.slice(start, end), constants);
  const stop = evaluate(bound!, constants);
  let unrolled = `${head}${body}}`;
  if (stop !== undefined) {
    unrolled = "";
    for (let i = Number(first); i < stop; i++) unrolled += `{ const ${name} = ${i}u;${body}}\n`;
  }
  return source.slice(0, loop.index) + unrolled + unroll(source.slice(end + 1), constants);
}

/** Returns the index of the brace that closes the block that starts at `from`. */
function closingBrace(source: string, from: number): number {
  let depth = 1;
  for (let i = from; i < source.length; i++) {
    if (source[i] === "{") depth++;
    else if (source[i] === "}" && --depth === 0) return i;
  }
  throw new SyntaxError("Cannot unroll a loop: unbalanced braces");
}

/** Evaluates products and quotients of numbers and constants, from left to right. */
function evaluate(expression: string, constants: ReadonlyMap<string, number>): number | undefined {
  const [first, ...rest] = expression.split(/ ([*/]) /).map((term, i) =>
    i % 2 === 1 ? term : /^\d+u?$/.test(term) ? parseInt(term) : constants.get(term)
  );
  let value = first as number | undefined;
  for (let i = 0; i < rest.length && value !== undefined; i += 2) {
    const other = rest[i + 1] as number | undefined;
    if (other === undefined) return undefined;
    value = rest[i] === "*" ? value * other : Math.trunc(value / other);
  }
  return value;
}
