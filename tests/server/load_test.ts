/**
 * A mixed load over HTTP: of many requests at once a tenth is cancelled at some moment and a tenth is
 * invalid. TVLLM_TEST_LONG=1 makes it 1,000 requests.
 */

import assert from "node:assert/strict";
import type { Model } from "../../mod.ts";
import { listening, loadServed, makeServer, parseEvents } from "./served.ts";

const LONG = Deno.env.get("TVLLM_TEST_LONG") === "1";
const REQUESTS = LONG ? 1000 : 100;
const CONCURRENCY = 64;
/** Requests that differ; the answer of each is computed once, alone. */
const KINDS = 20;

// deno-lint-ignore no-explicit-any -- bodies as clients see them
type Body = any;

/** The request of a kind: some stream, some draw, of unlike lengths. */
function bodyOf(kind: number) {
  return {
    prompt: "Once upon a time there was a king ".repeat(1 + kind % 4) + kind,
    max_tokens: 4 + kind,
    temperature: kind % 2,
    seed: kind,
    stream: kind % 3 === 0,
  };
}

async function alone(model: Model, kind: number): Promise<string> {
  const { prompt, max_tokens: maxTokens, temperature, seed } = bodyOf(kind);
  const { text } = await model.complete(prompt, { raw: true, maxTokens, temperature, seed });
  return text;
}

async function textOf(response: Response): Promise<string> {
  const text = await response.text();
  if (!response.headers.get("content-type")!.startsWith("text/event-stream")) {
    return JSON.parse(text).choices[0].text;
  }
  const events = parseEvents(text) as Body[];
  assert.equal(events.pop(), "[DONE]");
  return events.map(({ choices: [choice] }) => choice.text).join("");
}

async function figures(address: string): Promise<(name: string) => number> {
  const lines = (await (await fetch(`${address}/metrics`)).text()).split("\n");
  return (name) => Number(lines.find((line) => line.startsWith(`${name} `))?.split(" ")[1] ?? 0);
}

Deno.test(`${REQUESTS} mixed requests at once: none is lost, none wrong, and /metrics adds up`, async () => {
  await using model = await loadServed({ maxSequences: 16, kvTokens: 4096 });
  const expected: string[] = [];
  for (let kind = 0; kind < KINDS; kind++) expected.push(await alone(model, kind));
  model.engine.clearPrefixCache();
  const { server } = makeServer({ concurrency: 16, queue: CONCURRENCY });
  server.ready(model);
  const outcomes = { right: 0, invalid: 0, cancelled: 0 };
  await listening((request) => server.handle(request), async (address) => {
    const ask = async (number: number) => {
      const kind = number % KINDS;
      const gone = new AbortController();
      const isInvalid = number % 10 === 3;
      const isCancelled = number % 10 === 7;
      const body = isInvalid
        ? { ...bodyOf(kind), temperature: "hot" }
        : isCancelled
        ? { ...bodyOf(kind), max_tokens: 150, ignore_eos: true }
        : bodyOf(kind);
      if (isCancelled) setTimeout(() => gone.abort(), (number * 37) % 200);
      try {
        const response = await fetch(`${address}/v1/completions`, {
          method: "POST",
          body: JSON.stringify(body),
          signal: gone.signal,
        });
        if (isInvalid) {
          assert.equal(response.status, 400);
          assert.equal((await response.json()).error.param, "temperature");
          outcomes.invalid++;
          return;
        }
        assert.equal(response.status, 200);
        const text = await textOf(response);
        // It may have been done before it was cancelled.
        if (!isCancelled) assert.equal(text, expected[kind]);
        outcomes[isCancelled ? "cancelled" : "right"]++;
      } catch (error) {
        if (!gone.signal.aborted) throw error;
        outcomes.cancelled++;
      }
    };
    let next = 0;
    const client = async () => {
      while (next < REQUESTS) await ask(next++);
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, client));
    while (server.open > 0) await new Promise((resolve) => setTimeout(resolve, 1));
    const value = await figures(address);
    const count = (status: number) =>
      value(`tvllm:requests_total{path="/v1/completions",status="${status}"}`);
    assert.equal(count(400), REQUESTS / 10);
    // A client may go away before its request has come.
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
