import { checkHistories } from "../serving/histories.ts";

Deno.test("Scheduler keeps its accounts and its promises over 10,000 random histories", () => {
  checkHistories(10_000);
});
