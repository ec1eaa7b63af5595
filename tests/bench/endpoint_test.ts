/** Measurements of servers that stream in the formats in use, also if streams are cut or broken. */

import assert from "node:assert/strict";
import { Harness } from "../../bench/harness/harness.ts";
import { latency } from "../../bench/suites/latency.ts";
import { prefixCache } from "../../bench/suites/prefix_cache.ts";
import { speed } from "../../bench/suites/speed.ts";
import { throughput } from "../../bench/suites/throughput.ts";
import { toMarkdown } from "../../bench/report/markdown.ts";
import { reportSchema } from "../../bench/report/report.ts";
import { EndpointClient } from "../../bench/targets/endpoint_client.ts";
import { EndpointTarget } from "../../bench/targets/endpoint_target.ts";
import { EndpointError } from "../../client/errors.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { listening, loadServed, makeServer } from "../server/served.ts";
import { numberOf, PROGRAM, RUN } from "./scripted_target.ts";

/** Runs `use` with the client of a server that has these routes, and answers 404 to all others. */
async function withServer(
  routes: Readonly<Record<string, (request: Request) => Response | Promise<Response>>>,
  use: (client: EndpointClient) => Promise<void>,
): Promise<void> {
  await listening(async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/v1/models" && !routes[pathname]) {
      return Response.json({ object: "list", data: [{ id: "m" }] });
    }
    const route = routes[pathname];
    if (route) return await route(request);
    await request.body?.cancel();
    return Response.json({ detail: "Not Found" }, { status: 404 });
  }, async (address) => {
    await use(await EndpointClient.open({ url: `${address}/v1` }));
  });
}

/** A response that streams exactly these pieces. */
function pieces(...texts: string[]): Response {
  const body = new ReadableStream({
    async start(controller) {
      for (const text of texts) {
        controller.enqueue(new TextEncoder().encode(text));
        await new Promise((resolve) => setTimeout(resolve));
      }
      controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

const event = (data: object) => `data: ${JSON.stringify(data)}\n\n`;
const text = (text: string, finish: string | null = null) => ({
  choices: [{ index: 0, text, finish_reason: finish }],
});
const delta = (delta: object, finish: string | null = null) => ({
  choices: [{ index: 0, delta, finish_reason: finish }],
});
const DONE = "data: [DONE]\n\n";
const USAGE = { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 };
const REQUEST = { prompt: "Hello", maxTokens: 3, sampling: GREEDY };

interface Form {
  readonly name: string;
  readonly path: string;
  readonly stream: readonly string[];
  readonly tokens: number;
  readonly counted: string;
  readonly chunks: number;
}

/** Written from the documentation and sources of the servers, not recorded. */
const FORMS: readonly Form[] = [
  {
    name: "vLLM: usage in a chunk without choices, a token without text",
    path: "/v1/completions",
    stream: [
      event({ ...text("a"), usage: null }),
      event({ ...text(""), usage: null }),
      event({ ...text("b", "length"), usage: null }),
      event({ choices: [], usage: { ...USAGE, prompt_tokens_details: { cached_tokens: 2 } } }),
      DONE,
    ],
    tokens: 3,
    counted: "usage",
    chunks: 2,
  },
  {
    name: "llama-server: usage and timings in the last chunk with choices",
    path: "/v1/completions",
    stream: [
      event(text("a")),
      event(text("b")),
      event(text("c")),
      event({
        ...text("", "length"),
        usage: USAGE,
        timings: { prompt_n: 5, prompt_ms: 12.5, predicted_n: 3, predicted_per_token_ms: 2.5 },
      }),
      DONE,
    ],
    tokens: 3,
    counted: "usage",
    chunks: 3,
  },
  {
    name: "SGLang: chats only, an empty first chunk with the role, reasoning",
    path: "/v1/chat/completions",
    stream: [
      event(delta({ role: "assistant", content: "", reasoning_content: null })),
      event(delta({ content: null, reasoning_content: "hm" })),
      event(delta({ content: "a", reasoning_content: null })),
      event(delta({ content: "b" }, "length")),
      event({ choices: [], usage: USAGE }),
      DONE,
    ],
    tokens: 3,
    counted: "usage",
    chunks: 3,
  },
  {
    name: "ollama's chats: reasoning under its other name, no tokenizer",
    path: "/v1/chat/completions",
    stream: [
      event(delta({ role: "assistant", content: "", reasoning: "hm" })),
      event(delta({ role: "assistant", content: "a" })),
      event(delta({ role: "assistant", content: "" }, "stop")),
      event({ choices: [], usage: { ...USAGE, completion_tokens: 2 } }),
      DONE,
    ],
    tokens: 2,
    counted: "usage",
    chunks: 2,
  },
  {
    name: "LM Studio: no usage, CRLF, comments, events cut anywhere",
    path: "/v1/completions",
    stream: [
      ": keep-alive\r\n\r\ndata: " + JSON.stringify(text("a")).slice(0, 9),
      JSON.stringify(text("a")).slice(9) + "\r\n\r",
      "\ndata: " + JSON.stringify(text("b", "stop")) + "\r\n\r\n",
      "data: [DONE]\r\n\r\n",
    ],
    tokens: 2,
    counted: "chunks",
    chunks: 2,
  },
  {
    name: "TGI: data without a space, no [DONE]",
    path: "/v1/completions",
    stream: [
      `data:${JSON.stringify(text("a"))}\n\n`,
      `data:${JSON.stringify({ ...text("b", "length"), usage: null })}\n\n`,
      `data:${JSON.stringify({ choices: [], usage: { ...USAGE, completion_tokens: 2 } })}\n\n`,
    ],
    tokens: 2,
    counted: "usage",
    chunks: 2,
  },
];

for (const { name, path, stream, ...expected } of FORMS) {
  Deno.test(`EndpointClient reads ${name}`, async () => {
    await withServer({ [path]: () => pieces(...stream) }, async (client) => {
      const { submitted, chunks, tokens, counted } = await client.complete(REQUEST);
      assert.deepEqual({ tokens, counted, chunks: chunks.length }, expected);
      assert.ok(chunks.every((time, i) => time >= (chunks[i - 1] ?? submitted)));
    });
  });
}

Deno.test("EndpointClient reads a server's own timings, and sends the requested options", async () => {
  const seen: Record<string, unknown>[] = [];
  await withServer({
    "/v1/completions": async (request) => {
      seen.push(await request.json());
      return pieces(...FORMS[1]!.stream);
    },
  }, async (client) => {
    const answer = await client.complete(REQUEST);
    assert.deepEqual(answer.own, { prompt: 12.5, perToken: 2.5 });
    assert.equal(answer.promptTokens, 5);
  });
  const { prompt, max_tokens, min_tokens, ignore_eos, temperature, model } = seen[0]!;
  assert.deepEqual({ prompt, max_tokens, min_tokens, ignore_eos, temperature, model }, {
    prompt: "Hello",
    max_tokens: 3,
    min_tokens: 3,
    ignore_eos: true,
    temperature: 0,
    model: "m",
  });
});

Deno.test("EndpointClient lifts the top-k limit with -1 or 0, as the server requires", async () => {
  const sampling = { ...GREEDY, temperature: 1, topK: 0 };
  for (
    const { refused, sent } of [{ refused: 0, sent: [-1, -1] }, { refused: -1, sent: [-1, 0, 0] }]
  ) {
    const seen: unknown[] = [];
    await withServer({
      "/v1/completions": async (request) => {
        const { top_k } = await request.json();
        seen.push(top_k);
        return top_k === refused
          ? Response.json({ error: "top_k must be at least 0" }, { status: 400 })
          : pieces(...FORMS[0]!.stream);
      },
    }, async (client) => {
      for (let i = 0; i < 2; i++) await client.complete({ ...REQUEST, sampling });
    });
    assert.deepEqual(seen, sent);
  }
  const other = { "/v1/completions": () => new Response("top_p is wrong", { status: 400 }) };
  await withServer(other, async (client) => {
    await assert.rejects(client.complete({ ...REQUEST, sampling }), /top_p is wrong/);
  });
});

Deno.test("EndpointClient counts with the server's tokenizer if there is no usage", async () => {
  await withServer({
    "/v1/completions": () => pieces(event(text("abc")), event(text("d", "stop")), DONE),
    "/tokenize": async (request) => {
      const { prompt } = await request.json();
      return Response.json({ tokens: [...prompt].map((_, i) => i) });
    },
  }, async (client) => {
    const { tokens, counted } = await client.complete(REQUEST);
    assert.deepEqual([tokens, counted], [4, "tokenizer"]);
  });
});

Deno.test("EndpointClient needs no list of models if a model is named", async () => {
  const models: unknown[] = [];
  await listening(async (request) => {
    if (request.method === "GET") return new Response("", { status: 404 });
    models.push((await request.json()).model);
    return pieces(...FORMS[0]!.stream);
  }, async (url) => {
    await assert.rejects(EndpointClient.open({ url }), /answers 404/);
    await (await EndpointClient.open({ url, model: "x" })).complete(REQUEST);
  });
  await listening(() => Response.json({ models: [] }), async (url) => {
    await assert.rejects(EndpointClient.open({ url }), /name one with --served-model/);
  });
  assert.deepEqual(models, ["x"]);
});

for (const { name, path, stream } of FORMS) {
  Deno.test(`EndpointClient notices that an answer ends early: ${name}`, async () => {
    // The stream is cut before the first event that says that the answer has ended.
    const ends = stream.findIndex((text) => /\[DONE\]|"(length|stop)"/.test(text));
    assert.ok(ends > 0);
    await withServer({ [path]: () => pieces(...stream.slice(0, ends)) }, async (client) => {
      await assert.rejects(client.complete(REQUEST), /was cut off/);
    });
    const broken = stream[ends]!.slice(0, -stream[ends]!.length / 2);
    await withServer({ [path]: () => pieces(...stream.slice(0, ends), broken) }, async (client) => {
      await assert.rejects(client.complete(REQUEST), /was cut off/);
    });
  });
}

Deno.test("EndpointClient counts with a local tokenizer if it is given one", async () => {
  await withServer({ "/v1/completions": () => pieces(...FORMS[0]!.stream) }, async (client) => {
    const { url } = client.endpoint;
    const counting = await EndpointClient.open({ url, countTokens: ({ length }) => 2 * length });
    const { tokens, counted } = await counting.complete(REQUEST);
    assert.deepEqual([tokens, counted, await counting.tokenCount("abc")], [4, "local", 6]);
  });
});

Deno.test("EndpointClient uses ollama's own route, which reports times in ns", async () => {
  const line = (data: object) => `${JSON.stringify({ model: "m", done: false, ...data })}\n`;
  const last = {
    ...{ response: "", done: true, done_reason: "length", total_duration: 2e7 },
    ...{ prompt_eval_count: 5, prompt_eval_duration: 5e6, eval_count: 4, eval_duration: 1e7 },
  };
  const whole = line({ response: "", thinking: "hm" }) + line({ response: "a" }) + line(last);
  const seen: Record<string, unknown>[] = [];
  let answer = () => pieces(whole.slice(0, 70), whole.slice(70));
  await withServer({
    "/api/version": () => Response.json({ version: "0.40.12" }),
    "/api/generate": async (request) => {
      seen.push(await request.json());
      return answer();
    },
  }, async (client) => {
    assert.equal(client.api, "ollama");
    const { own, tokens, counted, promptTokens, chunks } = await client.complete(REQUEST);
    assert.deepEqual(own, { prompt: 5, perToken: 2.5 });
    assert.deepEqual([tokens, counted, promptTokens, chunks.length], [4, "usage", 5, 2]);
    assert.deepEqual(seen[0], {
      model: "m",
      prompt: "Hello",
      raw: true,
      options: { num_predict: 3, temperature: 0, repeat_penalty: 1 },
    });
    for (
      const [stream, message] of [
        [whole.slice(0, -20), /cut off/],
        [line({ error: "out of memory" }), /Cannot get an answer from .*out of memory/],
        ["nonsense\n", /Cannot read an answer from .*nonsense/],
        ["x".repeat(17 * 2 ** 20), /Cannot read an answer from .*xxx/],
      ] as const
    ) {
      answer = () => pieces(stream);
      await assert.rejects(client.complete(REQUEST), message);
    }
  });
  // Another program that has the same route for its version.
  await withServer({
    "/api/version": () => Response.json({ version: "1" }),
    "/v1/completions": () => pieces(...FORMS[0]!.stream),
  }, async (client) => {
    await client.complete(REQUEST);
    assert.equal(client.api, "completions");
  });
});

Deno.test("EndpointClient fails if an answer is cut off, broken, refused or empty", async () => {
  const broken: readonly (readonly [RegExp, () => Response])[] = [
    [/cut off/, () => pieces(event(text("a")))],
    [
      /Cannot read an answer from .*: nonsense/,
      () => pieces(event(text("a")), "data: nonsense\n\n"),
    ],
    [
      /out of memory/,
      () => pieces(event(text("a")), event({ error: { message: "out of memory" } })),
    ],
    [/no text/, () => pieces(event(text("", "stop")), DONE)],
    [/answers 503: busy/, () => new Response("busy", { status: 503 })],
    [
      /answers 404: .*model/,
      () => Response.json({ error: { message: "model not found" } }, { status: 404 }),
    ],
  ];
  for (const [message, answer] of broken) {
    await withServer({ "/v1/completions": answer }, async (client) => {
      await assert.rejects(client.complete(REQUEST), (error) => {
        assert.ok(error instanceof EndpointError);
        assert.match(error.message, message);
        return true;
      });
    });
  }
});

Deno.test("suites measure a served model with the server's token counts and different prompts", async () => {
  // The KV cache has room for all prompts of prefix-cache.
  await using model = await loadServed({ kvTokens: 1024 });
  const { server } = makeServer();
  server.ready(model);
  const route = (request: Request) => server.handle(request);
  const routes = Object.fromEntries(
    ["/v1/models", "/v1/completions", "/tokenize"].map((path) => [path, route]),
  );
  await withServer(routes, async (client) => {
    const sample = "Every evening the baker told the same story. ".repeat(12);
    const target = await EndpointTarget.open(client, PROGRAM, sample);
    const run = { ...RUN, promptTokens: 32, repetitions: 2, contexts: [32] };
    const report = await Harness.run(latency, target, { run });
    assert.deepEqual(reportSchema.parse(report), report);
    assert.ok(report.complete);
    assert.deepEqual(report.environment.endpoint, {
      url: client.endpoint.url,
      server: "tvllm",
      api: "completions",
      tokens: "usage",
    });
    assert.equal(report.limits, null);
    assert.equal(report.environment.model.contextLength, 256);
    assert.equal(numberOf(report, "output_tokens"), 2 * 2 * run.maxTokens);
    // The server's clock does not include the network and HTTP.
    assert.ok(
      numberOf(report, "ttft", { clock: "server" }) < numberOf(report, "ttft", { clock: "here" }),
    );
    assert.match(toMarkdown(report), /\| Endpoint +\| http:\/\/127\.0\.0\.1/);
    const cache = await Harness.run(prefixCache, target, { run: { ...run, promptTokens: 130 } });
    assert.deepEqual(cache.tables[0]!.rows.map(([, , actual, , status]) => [actual, status]), [
      ["MISS", "ok"],
      ["HIT", "ok"],
      ["MISS", "ok"],
      ["PREFIX_HIT", "ok"],
      ["HIT", "ok"],
    ]);
    assert.equal(numberOf(cache, "request_hits"), 3);
    const lengths = { promptTokens: "32", maxTokens: "4", pg: "16+4", depth: "0,64" };
    const rows = await Harness.run(speed, target, { run: { ...run, suiteOptions: lengths } });
    assert.deepEqual(rows.failures, undefined);
    const tests = ["pp32", "tg4", "pp16+tg4"].flatMap((test) => [test, `${test} @ d64`]).sort();
    assert.deepEqual(rows.tables[0]!.rows.map((row) => String(row[6])).sort(), tests);
    const rates = await Harness.run(throughput, target, { run });
    assert.equal(numberOf(rates, "cache_hit_rate", { arrival: "concurrent", requests: 2 }), 0);
  });
});
