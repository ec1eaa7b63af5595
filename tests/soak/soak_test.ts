import assert from "node:assert/strict";
import { soak } from "./soak.ts";

Deno.test("a server on the CPU loses no request and leaks no memory in mixed rounds with lost devices", async () => {
  const bytes = new Set<number>();
  const counts = await soak({
    device: "cpu",
    requests: 30,
    goesOn: (round) => round < 5,
    isLost: (round) => round % 2 === 1,
    idle: ({ deviceBytes }) => Promise.resolve(void bytes.add(deviceBytes)),
  });
  assert.deepEqual(counts.outcomes, { right: 120, invalid: 15, cancelled: 15 });
  assert.deepEqual(counts.losses, ["a step is refused", "a step cannot be read"]);
  assert.equal(bytes.size, 1);
});
