/** What each route answers, and that the answers equal the engine's. */

import assert from "node:assert/strict";
import type { ModelServer } from "../../server/server.ts";
import {
  ask,
  type Body,
  GREEDY,
  loadServed,
  makeServer,
  parseEvents,
  request,
  served,
  STORY,
} from "./served.ts";

async function askStream(server: ModelServer, route: string, body: object): Promise<Body[]> {
  const response = await server.handle(request(route, { ...body, stream: true }));
  assert.match(response.headers.get("content-type")!, /^text\/event-stream/);
  return parseEvents(await response.text());
}

Deno.test(
  "POST /v1/completions continues a text, token ids, or several prompts",
  served(async (server, model) => {
    const { text, ids } = await model.complete(STORY, { temperature: 0, maxTokens: 12, raw: true });
    const { status, body } = await ask(server, "POST /v1/completions", {
      model: "stories",
      prompt: STORY,
      ...GREEDY,
    });
    assert.equal(status, 200);
    assert.match(body.id, /^cmpl-/);
    assert.equal(body.object, "text_completion");
    assert.deepEqual(body.choices, [
      { index: 0, text, logprobs: null, finish_reason: "length" },
    ]);
    const promptIds = model.encodePrompt(STORY, { raw: true }).ids;
    assert.deepEqual(body.usage, {
      prompt_tokens: promptIds.length,
      completion_tokens: 12,
      total_tokens: promptIds.length + 12,
      prompt_tokens_details: { cached_tokens: 0 },
    });
    assert.equal(body.timings.prompt_n, promptIds.length);
    assert.equal(body.timings.predicted_n, 12);

    const many = await ask(server, "POST /v1/completions", {
      prompt: [promptIds, promptIds.slice(0, 2)],
      ...GREEDY,
      echo: true,
    });
    assert.deepEqual(many.body.choices.map(({ index }: Body) => index), [0, 1]);
    assert.equal(many.body.choices[0].text, STORY + text);
    assert.equal(many.body.usage.completion_tokens, 24);
    assert.equal(model.tokenizer.decode(ids, { continues: true }), text);
  }),
);

Deno.test(
  "echo returns each prompt as it was sent, with its control tokens",
  served(async (server, model) => {
    const { bosId, eosIds } = model.tokenizer;
    const control = model.tokenizer.spelling([...eosIds][0]!);
    const prompts = [`${control}${STORY}${control}\n`, "  two spaces", "caf\u00e9"];
    const echoed = async (prompt: unknown) => {
      const { body } = await ask(server, "POST /v1/completions", {
        prompt,
        temperature: 0,
        max_tokens: 1,
        echo: true,
      });
      return body.choices.map(({ text }: Body) => text);
    };
    const texts = await echoed(prompts);
    const ids = prompts.map((prompt) =>
      model.encodePrompt(prompt, { raw: true, special: true }).ids
    );
    assert.ok(ids.every((own) => own[0] === bosId) && ids[0]!.includes([...eosIds][0]!));
    for (const [i, prompt] of prompts.entries()) {
      assert.ok(texts[i].startsWith(prompt), texts[i]);
      assert.deepEqual(await echoed(prompt), [texts[i]]);
    }
    assert.deepEqual(await echoed(ids), texts);
    const events = await askStream(server, "POST /v1/completions", {
      prompt: prompts[0],
      max_tokens: 1,
      temperature: 0,
      echo: true,
    });
    assert.equal((events[0] as Body).choices[0].text, texts[0]);
  }),
);

Deno.test(
  "a stream has one chunk per token, usage if requested, and [DONE]",
  served(async (server, model) => {
    const { ids, text } = await model.complete(STORY, { temperature: 0, maxTokens: 12, raw: true });
    const events = await askStream(server, "POST /v1/completions", {
      prompt: STORY,
      ...GREEDY,
      stream_options: { include_usage: true },
    });
    assert.equal(events.pop(), "[DONE]");
    const last = events.pop();
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage.completion_tokens, 12);
    assert.equal(last.timings.predicted_n, 12);
    assert.equal(events.length, ids.length);
    assert.equal(events.map(({ choices: [choice] }) => choice.text).join(""), text);
    assert.deepEqual(
      events.map(({ choices: [choice] }) => choice.finish_reason),
      [...Array(11).fill(null), "length"],
    );
    const counted = await askStream(server, "POST /v1/completions", {
      prompt: STORY,
      ...GREEDY,
      stream_options: { continuous_usage_stats: true },
    });
    assert.equal(counted.length, 13);
    // The count includes all tokens read from the device, so it is at least the number sent.
    for (const [i, { usage }] of counted.slice(0, -1).entries()) {
      assert.ok(usage.completion_tokens > i);
    }
  }),
);

Deno.test(
  "POST /v1/chat/completions accepts texts and parts, and sends the role with the first token",
  served(async (server, model) => {
    const { text } = await model.complete(STORY, { temperature: 0, maxTokens: 12 });
    const messages = [{ role: "user", content: [{ type: "text", text: STORY }] }];
    const { body } = await ask(server, "POST /v1/chat/completions", {
      messages,
      temperature: 0,
      max_completion_tokens: 12,
    });
    assert.equal(body.object, "chat.completion");
    assert.deepEqual(body.choices, [{
      index: 0,
      message: { role: "assistant", content: text },
      logprobs: null,
      finish_reason: "length",
    }]);
    const events = await askStream(server, "POST /v1/chat/completions", { messages, ...GREEDY });
    assert.equal(events.pop(), "[DONE]");
    assert.equal(events.length, 12);
    assert.deepEqual(
      events.map(({ choices: [{ delta: { role } }] }) => role),
      ["assistant", ...Array(11).fill(undefined)],
    );
    const content = events.map(({ choices: [{ delta }] }) => delta.content).join("");
    assert.equal(content, text);
  }),
);

Deno.test(
  "logprobs equal the engine's, in the format of each kind of request",
  served(async (server, model) => {
    const { logprobs } = await model.complete(STORY, {
      temperature: 0,
      maxTokens: 3,
      logprobs: 2,
    });
    const expected = logprobs!.map(({ logprob }) => logprob);
    const { body: completion } = await ask(server, "POST /v1/completions", {
      prompt: STORY,
      temperature: 0,
      max_tokens: 3,
      logprobs: 2,
    });
    const own = completion.choices[0].logprobs;
    assert.deepEqual(own.token_logprobs, expected);
    assert.equal(own.tokens.join(""), completion.choices[0].text);
    assert.deepEqual(own.top_logprobs.map((top: object) => Object.keys(top).length), [2, 2, 2]);
    const { body: chat } = await ask(server, "POST /v1/chat/completions", {
      messages: [{ role: "user", content: STORY }],
      temperature: 0,
      max_tokens: 3,
      logprobs: true,
      top_logprobs: 2,
    });
    const { content } = chat.choices[0].logprobs;
    assert.deepEqual(content.map(({ logprob }: Body) => logprob), expected);
    assert.equal(content[0].top_logprobs.length, 2);
    assert.equal(new TextDecoder().decode(new Uint8Array(content[0].bytes)), content[0].token);
  }),
);

Deno.test(
  "stop, min_tokens, penalties and logit_bias have their effect on the answer",
  served(async (server, model) => {
    const { ids, text } = await model.complete(STORY, { temperature: 0, maxTokens: 12 });
    const answer = async (more: object) => {
      const { body } = await ask(server, "POST /v1/completions", {
        prompt: STORY,
        ...GREEDY,
        ...more,
      });
      return body.choices[0];
    };
    const stop = text.slice(6, 9);
    const stopped = await answer({ stop });
    assert.deepEqual([stopped.text, stopped.finish_reason], [
      text.slice(0, text.indexOf(stop)),
      "stop",
    ]);
    const all = await answer({ stop, min_tokens: 12 });
    assert.deepEqual([all.text, all.finish_reason], [text, "length"]);
    const banned = await answer({ logit_bias: { [ids[0]!]: -100 } });
    assert.notEqual(banned.text.slice(0, 3), text.slice(0, 3));
    const long = { max_tokens: 60 };
    const repeats = (text: string) => {
      const tokens = model.tokenize(text);
      return tokens.length - new Set(tokens).size;
    };
    const plain = await answer(long);
    const penalized = await answer({ ...long, presence_penalty: 2, frequency_penalty: 2 });
    assert.ok(repeats(penalized.text) < repeats(plain.text) / 2, penalized.text);
  }),
);

Deno.test(
  "/tokenize and /detokenize are inverses; /reset_prefix_cache clears the prefix cache",
  served(async (server, model) => {
    const { body } = await ask(server, "POST /tokenize", { prompt: STORY });
    assert.deepEqual(body.tokens, model.tokenize(STORY, { bos: true }));
    assert.equal(body.count, body.tokens.length);
    const bare = await ask(server, "POST /tokenize", { prompt: STORY, add_special_tokens: false });
    assert.deepEqual(bare.body.tokens, model.tokenize(STORY));
    const back = await ask(server, "POST /detokenize", { tokens: bare.body.tokens });
    assert.equal(back.body.prompt, STORY);

    const prompt = STORY.repeat(8);
    const cached = async () => {
      const { body } = await ask(server, "POST /v1/completions", { prompt, ...GREEDY });
      return body.usage.prompt_tokens_details.cached_tokens;
    };
    assert.equal(await cached(), 0);
    assert.ok(await cached() >= 16);
    assert.equal((await server.handle(request("POST /reset_prefix_cache"))).status, 200);
    assert.equal(model.engine.stats.blocks.kept, 0);
    assert.equal(await cached(), 0);
  }),
);

Deno.test(
  "/metrics counts requests and their tokens",
  served(async (server) => {
    for (let i = 0; i < 3; i++) {
      await ask(server, "POST /v1/completions", { prompt: STORY, ...GREEDY });
    }
    await ask(server, "POST /v1/completions", {});
    const response = await server.handle(request("GET /metrics"));
    const lines = (await response.text()).split("\n");
    const value = (name: string) =>
      Number(lines.find((line) => line.startsWith(`${name} `))?.split(" ")[1]);
    assert.equal(value('tvllm:requests_total{path="/v1/completions",status="200"}'), 3);
    assert.equal(value('tvllm:requests_total{path="/v1/completions",status="400"}'), 1);
    assert.equal(value("llamacpp:tokens_predicted_total"), 36);
    assert.equal(value("vllm:time_to_first_token_seconds_count"), 3);
    assert.equal(value('vllm:time_to_first_token_seconds_bucket{le="+Inf"}'), 3);
    assert.equal(value("vllm:num_requests_running"), 0);
  }),
);

Deno.test(
  "an answer ends at once when its client disconnects, streamed or not",
  served(async (server, model, log) => {
    for (const stream of [false, true]) {
      const before = model.engine.stats.generatedTokens;
      const gone = new AbortController();
      const body = { prompt: STORY, max_tokens: 200, ignore_eos: true, stream };
      const response = server.handle(request("POST /v1/completions", body, gone));
      if (stream) {
        const reader = (await response).body!.getReader();
        await reader.read();
        gone.abort();
        await reader.cancel();
      } else {
        while (model.engine.stats.generatedTokens === before) {
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
        gone.abort();
        await response;
      }
      assert.equal(model.engine.stats.running, 0);
      assert.ok(model.engine.stats.generatedTokens - before < 200);
      assert.match(log.at(-1)!, /^POST \/v1\/completions 499 /);
    }
  }),
);

Deno.test(
  "a full queue answers 429 with a time to retry; accepted requests are answered",
  served(async (server) => {
    const one = () =>
      server.handle(
        request("POST /v1/completions", { prompt: STORY, ...GREEDY, ignore_eos: true }),
      );
    const responses = await Promise.all(Array.from({ length: 5 }, one));
    const statuses = responses.map(({ status }) => status).sort();
    assert.deepEqual(statuses, [200, 200, 200, 429, 429]);
    const refused = responses.find(({ status }) => status === 429)!;
    assert.equal(refused.headers.get("retry-after"), "1");
    assert.equal((await refused.json()).error.code, "queue_full");
  }, { concurrency: 2, queue: 1 }),
);

Deno.test("a server that is loading or shutting down answers 503 to new requests", async () => {
  await using model = await loadServed();
  const { server } = makeServer();
  const statuses = async () => [
    (await server.handle(request("GET /health"))).status,
    (await server.handle(request("POST /v1/completions", { prompt: STORY, ...GREEDY }))).status,
  ];
  assert.deepEqual(await statuses(), [503, 503]);
  server.ready(model);
  assert.deepEqual(await statuses(), [200, 200]);
  const running = server.handle(
    request("POST /v1/completions", { prompt: STORY, max_tokens: 100, ignore_eos: true }),
  );
  while (model.engine.stats.running === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  server.drain();
  assert.deepEqual(await statuses(), [503, 503]);
  assert.equal((await running).status, 200);
});

Deno.test("cancelAll() ends a stream with an error that gives the reason", async () => {
  await using model = await loadServed();
  const { server } = makeServer();
  server.ready(model);
  const body = { prompt: STORY, max_tokens: 200, ignore_eos: true, stream: true };
  const response = await server.handle(request("POST /v1/completions", body));
  const text = response.text();
  while (model.engine.stats.generatedTokens < 3) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  server.cancelAll();
  const events = parseEvents(await text) as Body[];
  assert.equal(events.pop(), "[DONE]");
  assert.match(events.pop().error.message, /shutting down/);
  assert.equal(server.open, 0);
});
