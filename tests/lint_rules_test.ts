import assert from "node:assert/strict";
import rules from "./lint_rules.ts";

/** The functions that the rule reports in this source. */
function reported(source: string): string[] {
  return Deno.lint.runPlugin(rules, "file.ts", source)
    .map(({ range: [from, to] }) => source.slice(from, to));
}

Deno.test("tvllm/max-parameters reports all functions with more than three, and nothing else", () => {
  const many = [
    "function f(a, b, c, d) {}",
    "function (a, b, c, ...d) {}",
    "(a, b, c, { d } = {}) => a",
    "(a: A, b: B, c: C, d?: D) => void",
    "method(a: A, b: B, c: C, d: D): void;",
    "constructor(readonly a: A, b: B, c: C, d: D) {}",
    "#hidden(a, b, c, d) {}",
  ];
  const source = `
    ${many[0]}
    const g = ${many[1]};
    const h = ${many[2]};
    type F = ${many[3]};
    interface I { ${many[4]} }
    class K { ${many[5]} ${many[6]} }
    function few(a, b, { c, d, e }) {}
    const none = (...all) => few(1, 2, 3, 4);
  `;
  assert.deepEqual(reported(source), many);
});
