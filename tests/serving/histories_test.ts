import { checkHistories } from "./histories.ts";

Deno.test("Scheduler keeps its invariants in 2,000 random histories", () => {
  checkHistories(2_000);
});
