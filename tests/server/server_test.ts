/** What each route answers, and that the answers equal the engine's. */

import assert from "node:assert/strict";
import type { Model } from "../../mod.ts";
import type { ModelServer, ServerOptions } from "../../server/server.ts";
import { listening, loadServed, makeServer, parseEvents, request } from "./served.ts";

const STORY = "Once upon a time";
const GREEDY = { temperature: 0, max_tokens: 12 };

/** A test with a ready server and its model. Checks at the end that no request is left. */
function served(
  use: (server: ModelServer, model: Model, log: string[]) => Promise<void>,
  options: Partial<ServerOptions> = {},
): () => Promise<void> {
  return async () => {
    await using model = await loadServed();
    const { server, log } = makeServer(options);
    server.ready(model);
    await use(server, model, log);
    assert.equal(server.open, 0);
    const { running, waiting, blocks } = model.engine.stats;
    assert.deepEqual([running, waiting, blocks.used], [0, 0, 0]);
  };
}

// deno-lint-ignore no-explicit-any -- bodies as clients see them
type Body = any;

async function ask(server: ModelServer, route: string, body?: unknown): Promise<Body> {
  const response = await server.handle(request(route, body));
  return { status: response.status, body: await response.json() };
}

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
  "unsupported and invalid requests get OpenAI's error body, which names the field",
  served(async (server) => {
    const refused = async (body: unknown, path = "/v1/chat/completions") => {
      const response = await ask(server, `POST ${path}`, body);
      const { message, type, param, code } = response.body.error;
      assert.equal(typeof message, "string");
      return [response.status, type, param, code];
    };
    const messages = [{ role: "user", content: STORY }];
    const invalid = "invalid_request_error";
    const unsupported = "unsupported_parameter";
    for (
      const [name, value] of [
        ["tools", [{}]],
        ["response_format", { type: "json_object" }],
        ["n", 2],
      ] as const
    ) {
      assert.deepEqual(await refused({ messages, [name]: value }), [
        400,
        invalid,
        name,
        unsupported,
      ]);
    }
    const image = [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }];
    assert.deepEqual(await refused({ messages: image }), [
      400,
      invalid,
      "messages.0.content",
      unsupported,
    ]);
    assert.deepEqual(await refused({ messages: "hello" }), [400, invalid, "messages", null]);
    assert.deepEqual(await refused({ messages, temperature: -1 }), [
      400,
      invalid,
      "temperature",
      null,
    ]);
    assert.deepEqual(await refused({ messages, model: "gpt-9" }), [
      404,
      "not_found_error",
      "model",
      "model_not_found",
    ]);
    assert.deepEqual(await refused({ prompt: "word ".repeat(400) }, "/v1/completions"), [
      400,
      invalid,
      "prompt",
      "context_length_exceeded",
    ]);
    assert.deepEqual(await refused({ prompt: [1, 1e6] }, "/v1/completions"), [
      400,
      invalid,
      "prompt",
      null,
    ]);
    for (const body of ["{", "[]", "null", new Uint8Array([0xff, 0x22]), "[".repeat(1e4)]) {
      assert.equal((await refused(body))[0], 400);
    }
    assert.equal((await refused(`"${"x".repeat(100_001)}"`))[0], 413);
    assert.equal((await ask(server, "POST /v1/nothing", {})).status, 404);
    // Fields that do not affect the answer are ignored.
    const { status } = await ask(server, "POST /v1/chat/completions", {
      messages,
      ...GREEDY,
      user: "someone",
      tools: [],
      n: 1,
      stop: null,
      store: false,
    });
    assert.equal(status, 200);
  }),
);

Deno.test(
  "the error of an invalid field names it as the client does, with its limit and its value",
  served(async (server, model) => {
    const { vocabSize } = model.config;
    const stops = Array.from({ length: 17 }, String);
    const cases: [Record<string, unknown>, string][] = [
      [{ max_tokens: 0 }, "Cannot use 'max_tokens': expected at least 1, got 0"],
      [{ max_tokens: 1.5 }, "Cannot use 'max_tokens': expected a whole number, got 1.5"],
      [
        { max_completion_tokens: 0 },
        "Cannot use 'max_completion_tokens': expected at least 1, got 0",
      ],
      [
        { min_tokens: 5, max_completion_tokens: 4 },
        "Cannot accept the request: min_tokens is 5, not a whole number from 0 to max_completion_tokens (4)",
      ],
      [
        { min_tokens: 5, max_tokens: 4 },
        "Cannot accept the request: min_tokens is 5, not a whole number from 0 to max_tokens (4)",
      ],
      [{ top_p: 2 }, "Cannot sample with top_p 2: must be a number from 0 to 1"],
      [{ min_p: -1 }, "Cannot sample with min_p -1: must be a number from 0 to 1"],
      [{ top_k: -2 }, "Cannot use 'top_k': expected at least -1, got -2"],
      [
        { top_k: 2 ** 40 },
        "Cannot sample with top_k 1099511627776: must be a whole number from 0 to 4294967295",
      ],
      [
        { temperature: -1 },
        "Cannot sample with temperature -1: must be 0 or a finite float32 of at least 0.000001",
      ],
      [
        { repetition_penalty: 0 },
        "Cannot sample with repetition_penalty 0: must be a finite float32 of at least 0.000001",
      ],
      [
        { presence_penalty: 3 },
        "Cannot accept the request: presence_penalty is 3, not a number from -2 to 2",
      ],
      [
        { frequency_penalty: -3 },
        "Cannot accept the request: frequency_penalty is -3, not a number from -2 to 2",
      ],
      [{ top_logprobs: 21 }, "Cannot use 'top_logprobs': expected at most 20, got 21"],
      [
        { stop: stops },
        "Cannot use 'stop': expected a text, or a list of at most 16 texts, got a list of 17",
      ],
      [
        { stop: "" },
        "Cannot use 'stop': expected at least 1 character, got \"\"",
      ],
      [{ logit_bias: { x: 1 } }, "Cannot use 'logit_bias': expected token ids as keys, got \"x\""],
      [
        { logit_bias: { [vocabSize]: 1 } },
        `Cannot sample with logit bias for token ${vocabSize}: must be a token id below ${vocabSize}`,
      ],
      [{ stream: "yes" }, "Cannot use 'stream': expected true or false, got \"yes\""],
      [{ messages: [] }, "Cannot use 'messages': expected at least 1 item, got a list of 0"],
      [{ messages: null }, "Cannot use 'messages': expected a list, got null"],
    ];
    for (const [fields, expected] of cases) {
      const messages = [{ role: "user", content: STORY }];
      const { status, body } = await ask(server, "POST /v1/chat/completions", {
        messages,
        ...fields,
      });
      assert.deepEqual(
        [status, body.error.message, body.error.param],
        [400, expected, Object.keys(fields)[0]],
      );
    }
    const { body } = await ask(server, "POST /v1/completions", { prompt: [] });
    assert.deepEqual([body.error.message, body.error.param], [
      "Cannot use 'prompt': expected a text, token ids, or a list of either, got a list of 0",
      "prompt",
    ]);
    const { body: none } = await ask(server, "POST /v1/completions", []);
    assert.equal(none.error.message, "Cannot use the body: expected an object, got a list of 0");
  }),
);

Deno.test(
  "a path has HEAD where it has GET, and other methods get 405 with those that it has",
  served(async (server, _, log) => {
    await listening((request) => server.handle(request), async (address) => {
      const send = async (route: string) => {
        const [method, path] = route.split(" ");
        const response = await fetch(`${address}${path}`, { method: method! });
        return { response, text: await response.text() };
      };
      for (const path of ["/", "/page.js", "/health", "/metrics", "/v1/models"]) {
        const got = await send(`GET ${path}`), head = await send(`HEAD ${path}`);
        assert.deepEqual([head.response.status, head.text], [200, ""], path);
        const { headers } = head.response;
        assert.equal(headers.get("content-type"), got.response.headers.get("content-type"));
        const refused = await send(`POST ${path}`);
        assert.equal(refused.response.status, 405, path);
        assert.equal(refused.response.headers.get("allow"), "GET, HEAD, OPTIONS");
        const { message } = JSON.parse(refused.text).error;
        assert.equal(message, `Cannot use POST for ${path}: use GET or HEAD`);
      }
      assert.ok(log.every((line) => line.startsWith("POST ")), log.join("\n"));
      for (const path of ["/v1/completions", "/v1/chat/completions", "/tokenize"]) {
        for (const method of ["GET", "HEAD", "DELETE"]) {
          const { response, text } = await send(`${method} ${path}`);
          assert.deepEqual([response.status, response.headers.get("allow")], [
            405,
            "POST, OPTIONS",
          ]);
          if (method !== "HEAD") {
            assert.match(text, new RegExp(`Cannot use ${method} for ${path}: use POST"`));
          }
        }
      }
      for (const method of ["GET", "HEAD", "POST"]) {
        assert.equal((await send(`${method} /nothing`)).response.status, 404);
      }
    });
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
