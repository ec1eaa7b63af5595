import { equal } from "node:assert/strict";
import { unrollLoops } from "../../kernels/unroll.ts";

/** Replaces line breaks and runs of blanks by single spaces. */
const flat = (wgsl: string) => wgsl.replaceAll(/\s+/g, " ").trim();

Deno.test("loops of a constant length are unrolled, and so are inner ones", () => {
  const source = `const N = 4u;
const HALF = N / 2u;
for (var i = 1u; i < HALF * 2u; i++) { a[i] = 0.0; for (var j = 0u; j < 2u; j++) { f(i, j); } }
rest();`;
  const inner = (i: number) =>
    `{ const i = ${i}u; a[i] = 0.0; { const j = 0u; f(i, j); } { const j = 1u; f(i, j); } }`;
  equal(
    flat(unrollLoops(source)),
    `const N = 4u; const HALF = N / 2u; ${inner(1)} ${inner(2)} ${inner(3)} rest();`,
  );
});

Deno.test("loops whose length is known only at run time stay, and constant loops in them are unrolled", () => {
  const source = "for (var b = 0u; b < blocks; b++) { for (var r = 0u; r < 2u; r++) { f(b, r); } }";
  equal(
    flat(unrollLoops(source)),
    "for (var b = 0u; b < blocks; b++) { { const r = 0u; f(b, r); } { const r = 1u; f(b, r); } }",
  );
  for (const head of ["for (var i = lane; i < 8u; i += 4u)", "for (var i = 0u; i <= 8u; i++)"]) {
    equal(unrollLoops(`${head} { f(i); }`), `${head} { f(i); }`);
  }
});
