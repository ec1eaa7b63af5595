import { checkHistories } from "../serving/histories.ts";

Deno.test("Scheduler keeps its invariants in 10,000 random histories", () => {
  checkHistories(10_000);
});
