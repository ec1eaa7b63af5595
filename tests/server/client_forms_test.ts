/**
 * What two load generators send, and how they read the answers, reproduced without them.
 *
 * - `vllm bench serve` (vLLM's main branch): vllm/benchmarks/lib/endpoint_request_func.py at 02cfb53,
 *   vllm/benchmarks/serve.py at 009e6d4, and vllm/benchmarks/lib/ready_checker.py at 032a8d2, which
 *   sends the first request of the data set until it succeeds.
 * - GuideLLM 0.8.1 (the wheel on PyPI): guidellm/backends/openai/http.py and request_handlers.py.
 */

import assert from "node:assert/strict";
import type { Model } from "../../mod.ts";
import type { ServerOptions } from "../../server/server.ts";
import { chatText, completionText, readAsGuide, readAsVllm } from "./client_readers.ts";
import {
  listening,
  loadServed,
  makeServer,
  parseEvents,
  request,
  served,
  STORY,
} from "./served.ts";

const KEY = "secret";
const AUTHORIZATION = { authorization: `Bearer ${KEY}` };

// The headers that aiohttp and httpx add to what the clients set themselves.
const AIOHTTP = {
  accept: "*/*",
  "accept-encoding": "gzip, deflate",
  "user-agent": "Python/3.12 aiohttp/3.13.2",
};
const HTTPX = {
  accept: "*/*",
  "accept-encoding": "gzip, deflate, br, zstd",
  "user-agent": "python-httpx/0.28.1",
};

interface Asking {
  readonly address: string;
  readonly model: Model;
  readonly log: readonly string[];
}

/** A test as `served` makes it, with a server that answers over HTTP. */
function servedOverHttp(
  use: (asking: Asking) => Promise<void>,
  options: Partial<ServerOptions> = {},
): () => Promise<void> {
  return served(
    (server, model, log) =>
      listening((request) => server.handle(request), (address) => use({ address, model, log })),
    options,
  );
}

function post(url: string, body: object, headers: Record<string, string>): Promise<Response> {
  return fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
}

Deno.test(
  "vllm bench serve finds the model, aligns its prompts and counts every token of completions",
  servedOverHttp(async ({ address, model }) => {
    const { data: [{ id, root }] } = await (await fetch(`${address}/v1/models`)).json();
    assert.deepEqual([id, root], ["stories", "stories"]);
    const tokenized = await post(`${address}/tokenize`, {
      model: root,
      prompt: STORY,
      add_special_tokens: false,
    }, AIOHTTP);
    const { tokens } = await tokenized.json();
    assert.deepEqual(tokens, model.tokenize(STORY));
    const cut = await post(
      `${address}/detokenize`,
      { model: root, tokens: tokens.slice(0, 3) },
      AIOHTTP,
    );
    const { prompt: start } = await cut.json();
    assert.ok(start !== "" && STORY.startsWith(start), start);

    const maxTokens = 12;
    const ask = async (prompt: string | number[], headers = {}, more = {}) => {
      const response = await post(`${address}/v1/completions`, {
        model: id,
        prompt,
        repetition_penalty: 1.0,
        max_tokens: maxTokens,
        logprobs: null,
        stream: true,
        stream_options: { include_usage: true },
        ignore_eos: true,
        ...more,
      }, { ...AIOHTTP, ...headers });
      return await readAsVllm(response, completionText);
    };
    const greedy = { temperature: 0 };
    const { text, ids } = await model.complete(STORY, { temperature: 0, maxTokens, raw: true });
    const probe = await ask(STORY, {}, greedy);
    assert.equal(probe.text, text);
    assert.equal(probe.finish, "length");
    assert.equal(probe.iterations, ids.length);

    // vLLM looks for statistics of speculative decoding here, before and after the benchmark.
    const metrics = await (await fetch(`${address}/metrics`)).text();
    assert.doesNotMatch(metrics, /^vllm:(spec_decode|diffusion)/m);

    // The random data set sends texts, a timed trace sends ids. Both leave sampling to the server.
    const prompts: (string | number[])[] = [STORY, start, tokens, STORY];
    const readings = await Promise.all(
      prompts.map((prompt, i) => ask(prompt, { "x-request-id": `bench-${i}` })),
    );
    const lengths = prompts.map((prompt) =>
      typeof prompt === "string"
        ? model.encodePrompt(prompt, { raw: true }).ids.length
        : prompt.length
    );
    assert.deepEqual(readings.map(({ usage }) => usage.prompt_tokens), lengths);
    for (const { usage, iterations } of readings) {
      assert.deepEqual([usage.completion_tokens, iterations], [maxTokens, maxTokens]);
    }

    // Tokens without text count as tokens: here the end-of-text token, which the request ignores.
    const ends = { logit_bias: { [model.tokenizer.eosId!]: 100 }, ...greedy };
    const silent = await ask(STORY, {}, ends);
    assert.deepEqual([silent.iterations, silent.usage.completion_tokens], [maxTokens, maxTokens]);
    const ended = await ask(STORY, {}, { ...ends, ignore_eos: false });
    assert.equal(ended.finish, "stop");
    assert.equal(ended.iterations, ended.usage.completion_tokens);
  }),
);

Deno.test(
  "vllm bench serve reads chat completions, with a key and parameters of its own",
  servedOverHttp(async ({ address, model }) => {
    const maxTokens = 10;
    const messages = [{ role: "user", content: [{ type: "text", text: STORY }] }];
    const ask = (more: object, headers: Record<string, string> = AUTHORIZATION) =>
      post(`${address}/v1/chat/completions`, {
        model: "stories",
        messages,
        max_completion_tokens: maxTokens,
        stream: true,
        stream_options: { include_usage: true },
        ...more,
      }, { ...AIOHTTP, ...headers });
    const { text, ids } = await model.complete(STORY, { temperature: 0, maxTokens });
    const sampling = {
      top_p: 1,
      top_k: -1,
      min_p: 0,
      temperature: 0,
      frequency_penalty: 0,
      presence_penalty: 0,
      repetition_penalty: 1,
    };
    const reading = await readAsVllm(await ask({ ...sampling, ignore_eos: true }), chatText);
    assert.equal(reading.text, text);
    assert.deepEqual([reading.iterations, reading.finish], [ids.length, "length"]);
    assert.equal(reading.usage.completion_tokens, maxTokens);
    assert.equal(
      reading.usage.prompt_tokens,
      model.encodePrompt([{ role: "user", content: STORY }]).ids.length,
    );
    // vLLM treats any status other than 200 as a failure; for the profiler's route, it means that
    // there is no profiler.
    const refused = await ask({}, {});
    assert.equal(refused.status, 401);
    await refused.body!.cancel();
    const profile = await post(`${address}/start_profile`, {}, AUTHORIZATION);
    assert.equal(profile.status, 404);
    await profile.body!.cancel();
  }, { apiKey: KEY }),
);

Deno.test(
  "GuideLLM checks the server and counts every token of its own forms",
  servedOverHttp(async ({ address, model, log }) => {
    const get = (path: string) =>
      fetch(`${address}/${path}`, { headers: { ...HTTPX, ...AUTHORIZATION } });
    const health = await get("health");
    assert.equal(health.status, 200);
    await health.body!.cancel();
    const { data } = await (await get("v1/models")).json();
    const [{ id }] = data;
    assert.equal(data.length, 1);
    const ask = (path: string, body: object) =>
      post(`${address}/${path}`, { model: id, ...body, temperature: 0 }, {
        ...HTTPX,
        ...AUTHORIZATION,
      });
    // GuideLLM leaves out fields whose value is None, such as `stop`.
    const streaming = {
      stream: true,
      stream_options: { include_usage: true, continuous_usage_stats: true },
    };
    const maxTokens = 12;

    const prompt = `${STORY.repeat(8)} ${STORY}`;
    const completion = { ...streaming, max_tokens: maxTokens, ignore_eos: true, prompt };
    const expected = await model.complete(prompt, { temperature: 0, maxTokens, raw: true });
    model.engine.clearPrefixCache();
    const promptTokens = model.encodePrompt(prompt, { raw: true }).ids.length;
    for (const cached of [false, true]) {
      const reading = await readAsGuide(await ask("v1/completions", completion), completionText);
      assert.match(reading.id!, /^cmpl-/);
      assert.equal(reading.text, expected.text);
      assert.equal(reading.finish, "length");
      const { prompt_tokens, completion_tokens, prompt_tokens_details } = reading.usage;
      assert.deepEqual([prompt_tokens, completion_tokens], [promptTokens, maxTokens]);
      assert.equal(prompt_tokens_details.cached_tokens > 0, cached);
      assert.equal(reading.iterations, maxTokens);
    }

    // A second turn: the prefix as the system message, and the first answer.
    const messages = [
      { role: "system", content: "Be brief." },
      { role: "user", content: [{ type: "text", text: STORY }] },
      { role: "assistant", content: expected.text },
      { role: "user", content: [{ type: "text", text: "Go on." }, { type: "text", text: "Now." }] },
    ];
    const chat = { max_completion_tokens: maxTokens, ignore_eos: true, messages };
    const whole = await (await ask("v1/chat/completions", chat)).json();
    assert.match(whole.id, /^chatcmpl-/);
    const { message: { content }, finish_reason } = whole.choices[0];
    assert.equal(finish_reason, "length");
    const reading = await readAsGuide(
      await ask("v1/chat/completions", { ...chat, ...streaming }),
      chatText,
    );
    assert.equal(reading.text, content);
    for (const { prompt_tokens, completion_tokens } of [reading.usage, whole.usage]) {
      const ids = model.encodePrompt(messages.map(({ role, content }) => ({
        role,
        content: typeof content === "string" ? content : content.map(({ text }) => text).join("\n"),
      }))).ids;
      assert.deepEqual([prompt_tokens, completion_tokens], [ids.length, maxTokens]);
    }
    assert.equal(log.filter((line) => / 200 /.test(line)).length, log.length);
  }, { apiKey: KEY }),
);

Deno.test("a client that disconnects at [DONE], as GuideLLM does, counts as fully answered", async () => {
  await using model = await loadServed();
  const { server, log } = makeServer();
  server.ready(model);
  const body = { prompt: STORY, max_tokens: 3, ignore_eos: true, stream: true };
  const response = await server.handle(request("POST /v1/completions", body));
  // Without a network, the stream produces an event only when it is read.
  const reader = response.body!.getReader();
  let event: string;
  do event = new TextDecoder().decode((await reader.read()).value); while (
    event !== "data: [DONE]\n\n"
  );
  await reader.cancel();
  assert.equal(server.open, 0);
  assert.match(log.at(-1)!, /^POST \/v1\/completions 200 .*3 tokens/);
});

Deno.test(
  "events are sent whole and uncompressed, also to clients that accept compression",
  servedOverHttp(async ({ address }) => {
    const { hostname, port, host } = new URL(address);
    const body = JSON.stringify({ prompt: STORY, max_tokens: 12, ignore_eos: true, stream: true });
    for (const headers of [AIOHTTP, HTTPX]) {
      const head = Object.entries({
        host,
        ...headers,
        "content-type": "application/json",
        "content-length": `${body.length}`,
        connection: "close",
      }).map(([name, value]) => `${name}: ${value}\r\n`).join("");
      using connection = await Deno.connect({ hostname, port: Number(port) });
      const sent = new TextEncoder().encode(`POST /v1/completions HTTP/1.1\r\n${head}\r\n${body}`);
      assert.equal(await connection.write(sent), sent.length);
      const [start, ...rest] = (await new Response(connection.readable).text()).split("\r\n\r\n");
      assert.match(start!, /^HTTP\/1\.1 200 /);
      assert.match(start!, /^transfer-encoding: chunked$/mi);
      assert.doesNotMatch(start!, /^content-encoding:/mi);
      const pieces = [...rest.join("\r\n\r\n").matchAll(/([0-9a-f]+)\r\n([^\r]*)\r\n/g)];
      let text = "";
      for (const [, size, data] of pieces) {
        assert.equal(parseInt(size!, 16), new TextEncoder().encode(data).length);
        if (size === "0") continue;
        // vLLM strips whitespace from each piece, so a space at the end of a piece would be lost.
        assert.match(data!, /^(data: [^\n]+\n\n)+$/);
        text += data;
      }
      const events = parseEvents(text);
      assert.deepEqual([events.length, events.at(-1)], [13, "[DONE]"]);
    }
  }),
);
