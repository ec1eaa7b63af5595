/**
 * A mixed load over HTTP: many requests at once, of which a tenth is cancelled at some moment and a
 * tenth is invalid. TVLLM_TEST_LONG=1 sends 1,000 requests.
 */

import assert from "node:assert/strict";
import { MixedLoad } from "./mixed_load.ts";
import { listening, loadServed, makeServer } from "./served.ts";

const LONG = Deno.env.get("TVLLM_TEST_LONG") === "1";
const REQUESTS = LONG ? 1000 : 100;
const CONCURRENCY = 64;

async function figures(address: string): Promise<(name: string) => number> {
  const lines = (await (await fetch(`${address}/metrics`)).text()).split("\n");
  return (name) => Number(lines.find((line) => line.startsWith(`${name} `))?.split(" ")[1] ?? 0);
}

Deno.test(`${REQUESTS} mixed requests at once: none is lost, none wrong, and /metrics is right`, async () => {
  await using model = await loadServed({ maxSequences: 16, kvTokens: 4096 });
  const load = await MixedLoad.of(model);
  const { server } = makeServer({ concurrency: 16, queue: CONCURRENCY });
  server.ready(model);
  const outcomes = { right: 0, invalid: 0, cancelled: 0 };
  await listening((request) => server.handle(request), async (address) => {
    let next = 0;
    const client = async () => {
      while (next < REQUESTS) outcomes[await load.ask(address, next++)]++;
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, client));
    while (server.open > 0) await new Promise((resolve) => setTimeout(resolve, 1));
    const value = await figures(address);
    const count = (status: number) =>
      value(`tvllm:requests_total{path="/v1/completions",status="${status}"}`);
    assert.equal(count(400), REQUESTS / 10);
    // A client may disconnect before its request has arrived, which then has no status.
    assert.ok(count(200) + count(499) >= REQUESTS * 0.8);
    assert.ok(count(200) + count(499) <= REQUESTS * 0.9);
    assert.ok(count(499) > 0);
    assert.equal(value("vllm:num_requests_running"), 0);
    assert.equal(value("vllm:num_requests_waiting"), 0);
    assert.equal(value("tvllm:kv_blocks_used"), 0);
  });
  assert.deepEqual(outcomes, {
    right: REQUESTS * 0.8,
    invalid: REQUESTS / 10,
    cancelled: REQUESTS / 10,
  });
});
