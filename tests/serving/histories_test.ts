import { checkHistories } from "./histories.ts";

Deno.test("Scheduler keeps its accounts and its promises over 2,000 random histories", () => {
  checkHistories(2_000);
});
