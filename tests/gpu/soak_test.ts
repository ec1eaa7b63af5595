import assert from "node:assert/strict";
import { soak } from "../soak/soak.ts";

Deno.test("a server on the GPU loses no request and leaks no memory in mixed rounds with lost devices", async () => {
  const bytes = new Set<number>();
  const counts = await soak({
    device: "gpu",
    requests: 16,
    goesOn: (round) => round < 4,
    isLost: (round) => round > 0,
    idle: ({ deviceBytes }) => Promise.resolve(void bytes.add(deviceBytes)),
  });
  assert.deepEqual(counts.outcomes, { right: 51, invalid: 7, cancelled: 6 });
  assert.equal(new Set(counts.losses).size, 3);
  assert.equal(bytes.size, 1);
});
