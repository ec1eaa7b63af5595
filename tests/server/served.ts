/** A server of the built-in model on the CPU, without a network, and helpers for its requests. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { load, type Model, type ModelOptions } from "../../mod.ts";
import { ModelServer, type ServerOptions } from "../../server/server.ts";

const MODEL = fileURLToPath(new URL("../../fixtures/builtin.gguf", import.meta.url));

export const STORY = "Once upon a time";
export const GREEDY = { temperature: 0, max_tokens: 12 };

/** The model that the tests serve. */
export function loadServed(options: ModelOptions = {}): Promise<Model> {
  return load(MODEL, { device: "cpu", contextLength: 256, maxSequences: 4, ...options });
}

/** Creates a server that is not ready yet. Returns it with the lines of its log. */
export function makeServer(
  options: Partial<ServerOptions> = {},
): { server: ModelServer; log: string[] } {
  const log: string[] = [];
  const server = new ModelServer({
    name: "stories",
    apiKey: undefined,
    origins: [],
    hosts: [],
    concurrency: 4,
    queue: 8,
    body: { bytes: 100_000, milliseconds: 30_000 },
    unread: 30_000,
    log: (line) => log.push(line),
    ...options,
  });
  return { server, log };
}

/** Serves `handler` over HTTP on this machine while `use` runs. */
export async function listening(
  handler: (request: Request) => Response | Promise<Response>,
  use: (address: string) => Promise<void>,
): Promise<void> {
  const listener = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {}, handler });
  try {
    await use(`http://127.0.0.1:${listener.addr.port}`);
  } finally {
    await listener.shutdown();
  }
}

/** A request as a client on this machine sends it. */
export function request(
  route: string,
  body?: unknown,
  init: { headers?: Record<string, string>; signal?: AbortSignal } = {},
): Request {
  const [method, path] = route.split(" ");
  return new Request(`http://localhost${path}`, {
    method: method!,
    headers: { "content-type": "application/json", ...init.headers },
    ...(init.signal && { signal: init.signal }),
    ...(body !== undefined && {
      body: typeof body === "string" || body instanceof ReadableStream || body instanceof Uint8Array
        ? body as BodyInit
        : JSON.stringify(body),
    }),
  });
}

/** Returns the parsed data of each event of a body; "[DONE]" stays a string. */
export function parseEvents(text: string): unknown[] {
  const events = text.split("\n\n");
  if (events.pop() !== "") throw new Error("The last event has no end");
  return events.map((event) => {
    const data = /^data: (.*)$/.exec(event)?.[1];
    if (data === undefined) throw new Error(`No event: ${event}`);
    return data === "[DONE]" ? data : JSON.parse(data);
  });
}

/** A test with a ready server and its model. Checks at the end that no request is left. */
export function served(
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
export type Body = any;

/** Sends a request, and returns the status and the JSON body of the response. */
export async function ask(server: ModelServer, route: string, body?: unknown): Promise<Body> {
  const response = await server.handle(request(route, body));
  return { status: response.status, body: await response.json() };
}
