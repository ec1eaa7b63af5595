/** Which requests the server refuses, and what its errors say. */

import assert from "node:assert/strict";
import { ask, GREEDY, listening, served, STORY } from "./served.ts";

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
