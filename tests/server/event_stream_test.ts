/** Event streams whose client reads slowly, or not at all. */

import assert from "node:assert/strict";
import { eventResponse } from "../../server/event_stream.ts";
import { loadServed, makeServer, request } from "./served.ts";

Deno.test("eventResponse() makes an event when one is read, and treats a client that stops as gone", async () => {
  let made = 0;
  let ended = false;
  const events = async function* () {
    try {
      for (;;) yield `${++made}`;
    } finally {
      ended = true;
    }
  };
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  const response = eventResponse(events(), { milliseconds: 20, gone: resolve });
  const reader = response.body!.getReader();
  assert.equal(made, 0);
  for (let i = 1; i <= 3; i++) {
    const { value } = await reader.read();
    assert.equal(new TextDecoder().decode(value), `${i}`);
    assert.equal(made, i);
  }
  await gone;
  await assert.rejects(reader.read(), /no event was read for 0\.02 s/);
  assert.deepEqual([made, ended], [3, true]);
});

Deno.test("a client that stops reading its stream frees its place for others", async () => {
  await using model = await loadServed();
  const { server, log } = makeServer({ concurrency: 1, queue: 0, unread: 20 });
  server.ready(model);
  const body = { prompt: "Once", max_tokens: 100, ignore_eos: true, stream: true };
  const ask = () => server.handle(request("POST /v1/completions", body));
  const stream = (await ask()).body!.getReader();
  await stream.read();
  assert.equal(server.open, 1);
  while (server.open > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.match(log.at(-1)!, /^POST \/v1\/completions 499 /);
  await assert.rejects(async () => {
    while (!(await stream.read()).done);
  });
  const { status, body: next } = await ask();
  assert.equal(status, 200);
  await next!.cancel();
});
