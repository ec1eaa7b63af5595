/** The choice of a kernel variant by scripted times. */

import assert from "node:assert/strict";
import { fastest } from "../../bench/kernels/tuned_variant.ts";

Deno.test("fastest() replaces the usual variant only by one that is 3 % faster", () => {
  const usual = { name: "a", ratio: 1 };
  assert.equal(fastest([usual, { name: "b", ratio: 0.5 }, { name: "c", ratio: 0.4 }], "a"), "c");
  assert.equal(fastest([usual, { name: "b", ratio: 0.98 }, { name: "c", ratio: 2 }], "a"), "a");
  assert.equal(fastest([{ name: "b", ratio: 0.97 }, usual], "a"), "b");
});

Deno.test("fastest() never chooses a variant that is wrong or was not timed", () => {
  const wrong = { name: "b", fault: "it decodes different tokens" };
  assert.equal(fastest([{ name: "a", ratio: 1 }, wrong], "a"), "a");
  assert.equal(fastest([{ name: "a" }, { name: "b" }], "a"), "a");
  // If the usual variant does not work, the fastest of the others is chosen.
  const refused = { name: "a", fault: "needs 512 invocations per workgroup" };
  assert.equal(fastest([refused, { name: "b", ratio: 1.2 }, { name: "c", ratio: 1.1 }], "a"), "c");
});
