/** `tvllm serve`: serves OpenAI's API over HTTP. */

import { type Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { basename } from "node:path";
import { isHubSpec } from "../engine/hub/spec.ts";
import { pausesFor } from "../engine/run/event_loop.ts";
import type { ModelServer } from "../server/server.ts";
import { apiKeyOf, KEY_VARIABLE } from "./endpoint_options.ts";
import { UsageError } from "./exit_codes.ts";
import { Interrupts } from "./interrupt.ts";
import { openEngine } from "./open_engine.ts";
import { addDeviceOptions, addGlobalOptions, integer, modelOption } from "./options.ts";
import { isSyntheticSpec } from "./model_specs.ts";
import { Terminal } from "./terminal.ts";

/** Default time for which running requests may continue after Ctrl-C or SIGTERM. */
const DEFAULT_GRACE_SECONDS = 30;

/** Limits of a request's body: its size, and the time in which it must arrive. */
const BODY_LIMITS = { bytes: 4 * 2 ** 20, milliseconds: 30_000 };

/** Time for which a client may leave an event of its answer unread, in ms. */
const UNREAD_LIMIT = 60_000;

/** Adds the command to `program`. */
export function addServe(program: Command): void {
  const command = program.command("serve")
    .summary("serve a model over an OpenAI-compatible HTTP API")
    .description(
      "Serves a model over an OpenAI-compatible API: /v1/chat/completions, /v1/completions and " +
        "/v1/models. A chat page is at /, Prometheus metrics are at /metrics.",
    )
    .addOption(modelOption())
    .option(
      "--host <address>",
      "address to listen on; 0.0.0.0 means all addresses of this machine",
      "127.0.0.1",
    )
    .option("--port <n>", "port to listen on; 0 picks a free one", integer(0, 65535), 8080)
    .addOption(
      new Option(
        "--api-key <key>",
        `require clients to send this key as a bearer token (default: ${KEY_VARIABLE})`,
      ).argParser(filled),
    )
    .option(
      "--served-model <name>",
      "model name in the API (default: the name of its file, without .gguf)",
      filled,
    )
    .option("--concurrency <n>", "answers to generate at the same time", integer(1, 256), 8)
    .option(
      "--queue <n>",
      "how many requests may wait; when more arrive, they are refused",
      integer(0, 65536),
      64,
    )
    .option(
      "--cors <origin>",
      "allow web pages of this origin, such as https://example.com; * allows all",
      pageOrigin,
    )
    .option(
      "--grace <seconds>",
      "how long answers may continue after Ctrl-C or SIGTERM",
      integer(0, 3600),
      DEFAULT_GRACE_SECONDS,
    );
  addGlobalOptions(addDeviceOptions(command)).action(async (options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    using interrupts = new Interrupts();
    const { ModelServer } = await import("../server/server.ts");
    const server = new ModelServer({
      name: options.servedModel ?? nameOf(options.model),
      apiKey: apiKeyOf(options),
      origins: options.cors === undefined ? [] : [options.cors],
      hosts: [options.host.toLowerCase()],
      concurrency: options.concurrency,
      queue: options.queue,
      body: BODY_LIMITS,
      unread: UNREAD_LIMIT,
      log: (line) => terminal.note(line, "dim"),
    });
    // Opening the model drops network access, but a socket that already listens keeps working.
    const listener = new Listener(server, options);
    try {
      const { signal } = interrupts;
      const sizes = { maxSequences: options.concurrency };
      const model = await openEngine(options, terminal, { ...sizes, signal });
      try {
        await model.runner.compileAll?.(pausesFor(signal));
        server.ready(model);
        const { hostname, port } = listener.address;
        const name = hostname.includes(":") ? `[${hostname}]` : hostname;
        terminal.note(`Listening on http://${name}:${port}/; press Ctrl-C to stop`);
        const failure = await Promise.race([aborted(signal), listener.failure]);
        await end(server, listener, options.grace * 1000);
        if (failure) throw failure;
      } finally {
        await model.close();
      }
    } finally {
      await listener.close();
    }
    interrupts.signal.throwIfAborted();
  });
}

/** Accepts connections for a server. */
class Listener {
  readonly #http: Deno.HttpServer<Deno.NetAddr>;
  /** Responses that are not completely sent. */
  readonly #sending = new Set<Promise<void>>();
  /** Settles when no more connections are accepted: with an error, or undefined after `close`. */
  readonly failure: Promise<Error | undefined>;

  /** @throws {UsageError} if it cannot listen on this address and port. */
  constructor(
    server: ModelServer,
    { host, port }: { readonly host: string; readonly port: number },
  ) {
    try {
      this.#http = Deno.serve({
        hostname: host,
        port,
        onListen: () => {},
        handler: (request, { completed }) => {
          this.#sent(completed);
          return server.handle(request);
        },
      });
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      throw new UsageError(
        `Cannot listen on ${host}:${port}: ${error.message}; choose another with --port or --host`,
        { cause: error },
      );
    }
    this.failure = this.#failure();
  }

  get address(): Deno.NetAddr {
    return this.#http.addr;
  }

  /** Accepts no more connections, and waits until all responses are sent. */
  async close(): Promise<void> {
    await this.#http.shutdown();
    // shutdown() waits for them, too, unless the HTTP server has failed.
    await Promise.all(this.#sending);
  }

  async #failure(): Promise<Error | undefined> {
    try {
      await this.#http.finished;
      return undefined;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return new Error(
        `Cannot accept connections any more: ${reason}; if clients keep too many open, ` +
          "raise the limit of open files (ulimit -n)",
        { cause: error },
      );
    }
  }

  #sent(completed: Promise<void>): void {
    const sent: Promise<void> = completed.catch(() => {}).then(() => {
      this.#sending.delete(sent);
    });
    this.#sending.add(sent);
  }
}

/**
 * Stops the server. Running answers may continue for `milliseconds`; then they are cancelled. Until
 * then it keeps listening, so that load balancers and clients get 503 and not a refused connection.
 */
async function end(server: ModelServer, listener: Listener, milliseconds: number): Promise<void> {
  server.drain();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const grace = new Promise<void>((resolve) => timer = setTimeout(resolve, milliseconds));
  await Promise.race([server.idle(), grace]);
  clearTimeout(timer);
  server.cancelAll();
  await listener.close();
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve());
  });
}

/** Returns the name in the API of a model that was given as `spec`. */
function nameOf(spec: string | undefined): string {
  if (spec === undefined) return "builtin";
  return isHubSpec(spec) || isSyntheticSpec(spec) ? spec : basename(spec, ".gguf") || spec;
}

/** Returns an origin in the form in which browsers send it. */
function pageOrigin(text: string): string {
  if (text === "*") return text;
  const url = URL.parse(text);
  const isWeb = url?.protocol === "http:" || url?.protocol === "https:";
  if (isWeb && url.href === `${url.origin}/`) return url.origin;
  throw new InvalidArgumentError("Expected *, or an origin such as https://example.com.");
}

function filled(text: string): string {
  if (text === "") throw new InvalidArgumentError("Expected a text that is not empty.");
  return text;
}
