/** The requests that `generate --endpoint` sends to a server, and how it reads the answers. */

import assert from "node:assert/strict";
import { completed, type ReplySummary } from "../../cli/responder.ts";
import { RemoteResponder } from "../../cli/remote_responder.ts";
import { Endpoint } from "../../client/endpoint.ts";
import { EndpointError } from "../../client/errors.ts";
import type { GenerateOptions } from "../../engine/mod.ts";
import { listening } from "../server/served.ts";

const event = (data: object) => `data: ${JSON.stringify(data)}\n\n`;
const delta = (delta: object, finish: string | null = null) =>
  event({ choices: [{ index: 0, delta, finish_reason: finish }] });
const DONE = "data: [DONE]\n\n";
const USAGE = {
  choices: [],
  usage: {
    prompt_tokens: 5,
    completion_tokens: 4,
    prompt_tokens_details: { cached_tokens: 3 },
  },
};
const OPTIONS = { temperature: 0.5, topK: 0, topP: 0.9, minP: 0.1, repeatPenalty: 1, seed: 7 };

type Answer = (request: Request, body: Record<string, unknown>) => string | Response;

/** Runs `use` with a responder for a server that answers every request with `answer`. */
async function withResponder(
  answer: Answer,
  use: (responder: RemoteResponder) => Promise<void>,
  concurrency = 1,
): Promise<void> {
  await listening(async (request) => {
    if (request.method === "GET") return Response.json({ data: [{ id: "m", max_model_len: 64 }] });
    const given = answer(request, await request.json());
    return typeof given === "string" ? new Response(given) : given;
  }, async (url) => {
    await use(new RemoteResponder(await Endpoint.open({ url, apiKey: "key" }), concurrency));
  });
}

/** Sends a request with these options. Returns its path, key and body, and the answer's summary. */
async function asked(options: GenerateOptions, stream: string) {
  let seen: { path: string; key: string | null; body: Record<string, unknown> } | undefined;
  let summary: ReplySummary | undefined;
  await withResponder((request, body) => {
    const path = new URL(request.url).pathname;
    seen = { path, key: request.headers.get("authorization"), body };
    return stream;
  }, async (responder) => {
    summary = await completed(responder.generate("Hi", { ...OPTIONS, ...options }));
  });
  return { ...seen!, summary: summary! };
}

Deno.test("RemoteResponder requests a chat completion with the options of the command line", async () => {
  const { path, key, body } = await asked({
    system: "Be brief.",
    maxTokens: 9,
    repeatPenalty: 1.2,
    presencePenalty: 0.5,
    logitBias: new Map([[3, -1]]),
    stop: ["x"],
    templateVariables: { enable_thinking: false },
  }, delta({ content: "a" }, "stop") + DONE);
  assert.deepEqual([path, key], ["/v1/chat/completions", "Bearer key"]);
  assert.deepEqual(body, {
    model: "m",
    messages: [{ role: "system", content: "Be brief." }, { role: "user", content: "Hi" }],
    max_tokens: 9,
    temperature: 0.5,
    top_k: -1,
    top_p: 0.9,
    min_p: 0.1,
    seed: 7,
    repetition_penalty: 1.2,
    repeat_penalty: 1.2,
    presence_penalty: 0.5,
    logit_bias: { 3: -1 },
    stop: ["x"],
    chat_template_kwargs: { enable_thinking: false },
    stream: true,
    stream_options: { include_usage: true },
  });
});

Deno.test("RemoteResponder requests a text completion for a raw prompt", async () => {
  const stream = event({ choices: [{ text: "a", finish_reason: "length" }] }) + DONE;
  const { path, body, summary } = await asked({ raw: true }, stream);
  assert.equal(path, "/v1/completions");
  assert.deepEqual([body["prompt"], body["messages"], body["max_tokens"]], ["Hi", undefined, 512]);
  assert.deepEqual([summary.text, summary.finish, summary.counted], ["a", "length", "chunks"]);
});

Deno.test("RemoteResponder puts thoughts between tags, and uses the server's token counts", async () => {
  const { summary } = await asked(
    {},
    delta({ role: "assistant", content: "" }) + delta({ reasoning_content: "h" }) +
      delta({ reasoning: "m" }) + delta({ content: "a" }) + delta({ content: "b" }, "stop") +
      event(USAGE) + DONE,
  );
  const { text, tokens, promptTokens, cached, counted, finish, seed, timeToFirst, total } = summary;
  assert.equal(text, "<think>\nhm\n</think>\n\nab");
  assert.deepEqual({ tokens, promptTokens, cached, counted, finish, seed }, {
    tokens: 4,
    promptTokens: 5,
    cached: 3,
    counted: "usage",
    finish: "stop",
    seed: 7,
  });
  assert.ok(timeToFirst > 0 && total >= timeToFirst);
});

Deno.test("RemoteResponder fails if an answer is cut off, refused, or has no route", async () => {
  const cases: readonly (readonly [RegExp, Answer])[] = [
    [/cut off/, () => delta({ content: "a" })],
    [/Cannot get an answer from .*out of memory/, () => "error: out of memory\n\n"],
    [/Cannot get an answer from .*too long/, () => event({ error: { message: "too long" } })],
    [/answers 401: no key/, () => new Response("no key", { status: 401 })],
    [/answers 404: .*; add --raw to request a completion/, () => new Response("", { status: 404 })],
    [/answers 404: no such model$/, () => new Response("no such model", { status: 404 })],
    [/buffer/i, () => "data: " + "x".repeat(17 * 2 ** 20)],
  ];
  for (const [message, answer] of cases) {
    await withResponder(answer, async (responder) => {
      await assert.rejects(completed(responder.generate("Hi", OPTIONS)), (error) => {
        assert.ok(error instanceof EndpointError);
        assert.match(error.message, message);
        return true;
      });
    });
  }
});

Deno.test("RemoteResponder stays within its concurrency, and ends all answers when aborted", async () => {
  const abort = new AbortController();
  let [running, most, come] = [0, 0, 0];
  const answer: Answer = () => {
    most = Math.max(most, ++running);
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode(delta({ content: "a" }))),
      cancel: () => void running--,
    });
    return new Response(body);
  };
  await withResponder(answer, async (responder) => {
    const options = { ...OPTIONS, signal: abort.signal };
    const replies = Array.from({ length: 5 }, () => responder.generate("Hi", options));
    const all = Promise.all(replies.map(async (reply) => {
      for await (const _ of reply) if (++come === 2) abort.abort();
      return reply.summary!;
    }));
    const summaries = await all;
    assert.deepEqual(summaries.map(({ finish }) => finish), Array(5).fill("cancelled"));
    assert.equal(summaries.filter(({ text }) => text === "a").length, 2);
  }, 2);
  assert.equal(most, 2);
});
