/**
 * Sends requests to the hub: handles redirects, the token and retries, and explains errors to
 * users.
 */

import { ModelNotFoundError, RequestError } from "../errors.ts";
import { fetchFailure, messages } from "../causes.ts";
import { printable, quote } from "../files/quote.ts";

/** Limits for retries and timeouts; times in ms. */
export interface HubTiming {
  /** Maximum number of consecutive tries without progress. */
  readonly attempts: number;
  /** The wait before the second try; it doubles after each further failure. */
  readonly backoff: number;
  /** Timeout of a connection on which no data arrives. */
  readonly stall: number;
  /**
   * The longest wait that is accepted when the hub requests one; its rate limits reset after five
   * minutes.
   */
  readonly longestWait: number;
}

const TIMING: HubTiming = { attempts: 5, backoff: 500, stall: 30_000, longestWait: 330_000 };
const MAX_REDIRECTS = 8;

/** The address of the hub, and how to access it. */
export interface HubAccess {
  /** For example https://huggingface.co. */
  readonly endpoint: string;
  readonly token?: string;
  /** Origin of the token, for errors; default HF_TOKEN. */
  readonly tokenSource?: string;
  readonly timing?: Partial<HubTiming>;
  readonly signal?: AbortSignal;
  /** Called before each wait for another try. */
  readonly onRetry?: (line: string) => void;
}

/** A request to the hub. */
export interface HubRequest {
  /** Name of the requested file or list in errors. */
  readonly what: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A failure that may be temporary. */
export class TransientError extends Error {
  override name = "TransientError";
  /** @param wait the wait that the server requests, in ms */
  constructor(message: string, readonly wait?: number, options?: ErrorOptions) {
    super(message, options);
  }
}

/** A client of one hub. */
export class HubClient {
  readonly timing: HubTiming;
  readonly #access: HubAccess;
  readonly #origin: string;

  /**
   * @throws {RequestError} if the endpoint is not an http or https address, or the token has
   * invalid characters.
   */
  constructor(access: HubAccess) {
    if (!/^https?:$/.test(URL.parse(access.endpoint)?.protocol ?? "")) {
      throw new RequestError(
        `Cannot use the hub ${quote(access.endpoint)}: it is not an http or https address; ` +
          `check HF_ENDPOINT`,
      );
    }
    const { token = "" } = access;
    // Checked here because the error of fetch() would contain the token, including line ends.
    const odd = token.search(/[^\x21-\x7e]/);
    if (odd >= 0) {
      throw new RequestError(
        `Cannot use the token for the hub: character ${odd + 1} is not allowed in a token; ` +
          `check ${access.tokenSource ?? "HF_TOKEN"}`,
      );
    }
    this.#access = access;
    this.#origin = new URL(access.endpoint).origin;
    this.timing = { ...TIMING, ...access.timing };
  }

  /** Returns the address of `path` on the hub. */
  url(path: string): string {
    return `${this.#access.endpoint.replace(/\/+$/, "")}${path}`;
  }

  /**
   * Runs `work` until it succeeds or fails with another error than TransientError. `progress`
   * returns the progress so far; while it grows, the number of tries is not limited.
   *
   * @throws {ModelNotFoundError} if it keeps failing.
   */
  async retry<T>(what: string, work: () => Promise<T>, progress = () => 0): Promise<T> {
    const { attempts, backoff, longestWait } = this.timing;
    for (let failures = 0, best = 0;;) {
      this.#access.signal?.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        this.#access.signal?.throwIfAborted();
        if (!(error instanceof TransientError)) throw error;
        failures = progress() > best ? 1 : failures + 1;
        best = Math.max(best, progress());
        const wait = error.wait ?? backoff * 2 ** (failures - 1) * (0.75 + Math.random() / 2);
        if (failures >= attempts || wait > longestWait) {
          const tries = failures >= attempts
            ? `${failures} tries in a row failed; check the network, then try again`
            : `the hub asks to wait ${Math.ceil(wait / 1000)} s; try again later`;
          throw new ModelNotFoundError(`Cannot download ${what}: ${error.message}; ${tries}`, {
            cause: error,
          });
        }
        this.#access.onRetry?.(`${error.message}; trying again in ${(wait / 1000).toFixed(1)} s`);
        await this.sleep(wait);
      }
    }
  }

  /**
   * Sends a request and follows redirects; only the hub's own origin receives the token. `use`
   * reads the response and must call `onActivity` whenever data arrives.
   *
   * @throws {TransientError} if the connection fails or stalls, or the server refuses for now.
   * @throws {ModelNotFoundError} if the hub refuses the request.
   */
  async request<T>(
    request: HubRequest,
    use: (response: Response, onActivity: () => void) => Promise<T>,
  ): Promise<T> {
    const { what } = request;
    const stalled = new AbortController();
    const { stall } = this.timing;
    let lastActivity = performance.now();
    const onActivity = () => {
      lastActivity = performance.now();
    };
    const watch = setInterval(() => {
      if (performance.now() - lastActivity > stall) {
        stalled.abort(new TransientError(`no data arrived for ${stall / 1000} s`));
      }
    }, Math.min(stall / 4, 1000));
    const user = this.#access.signal;
    const signal = user === undefined ? stalled.signal : AbortSignal.any([stalled.signal, user]);
    try {
      const { response, hub } = await this.#follow(request, signal);
      await this.#check(what, response, hub);
      onActivity();
      return await use(response, onActivity);
    } catch (error) {
      user?.throwIfAborted();
      if (stalled.signal.aborted) throw stalled.signal.reason;
      if (error instanceof Deno.errors.NotCapable) {
        throw new ModelNotFoundError(
          `Cannot download ${what}: Deno has no permission to use the network; add --allow-net`,
          { cause: error },
        );
      }
      if (error instanceof TypeError && UNTRUSTED.test(messages(error))) {
        throw new ModelNotFoundError(
          `Cannot download ${what}: the certificate's authority is not trusted (a proxy may use its ` +
            "own); set DENO_TLS_CA_STORE=mozilla,system, or DENO_CERT to its file",
          { cause: error },
        );
      }
      if (isNetworkError(error)) {
        throw new TransientError(`the connection failed (${this.#shown(error)})`, undefined, {
          cause: error,
        });
      }
      throw error;
    } finally {
      clearInterval(watch);
      // Cancels the response if it was not read to the end.
      stalled.abort();
    }
  }

  async #follow(
    { what, url: start, headers }: HubRequest,
    signal: AbortSignal,
  ): Promise<{ response: Response; hub: boolean }> {
    let url = new URL(start);
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const hub = url.origin === this.#origin;
      const { token } = this.#access;
      const response = await fetch(url, {
        redirect: "manual",
        signal,
        headers: {
          ...headers,
          "user-agent": "tvllm",
          ...(hub && token !== undefined && { authorization: `Bearer ${token}` }),
        },
      });
      const location = response.headers.get("location");
      if (response.status < 300 || response.status > 399 || location === null) {
        return { response, hub };
      }
      await response.body?.cancel();
      const next = URL.canParse(location, url) ? new URL(location, url) : undefined;
      const secure = next?.protocol === "https:" ||
        (next?.protocol === "http:" && url.protocol === "http:");
      if (next === undefined || !secure) {
        throw new ModelNotFoundError(
          `Cannot download ${what}: the hub redirects to ${this.#shown(location)}, which is not ` +
            `secure; check HF_ENDPOINT`,
        );
      }
      url = next;
    }
    throw new ModelNotFoundError(
      `Cannot download ${what}: more than ${MAX_REDIRECTS} redirects; check HF_ENDPOINT`,
    );
  }

  async #check(what: string, response: Response, hub: boolean): Promise<void> {
    const { status } = response;
    if (status === 200 || status === 206 || status === 416) return;
    const { headers } = response;
    await response.body?.cancel();
    // Links to a storage host expire; the hub returns a new one at the next try.
    const expired = !hub && status === 403;
    if (status === 408 || status === 429 || status >= 500 || expired) {
      const limit = rateLimit(headers);
      const wait = waitOf(headers.get("retry-after")) ?? (status === 429 ? limit?.wait : undefined);
      const why = status === 429 && limit !== undefined ? ` (${limit.says})` : "";
      throw new TransientError(`the hub returned ${status}${why}`, wait);
    }
    throw new ModelNotFoundError(`Cannot download ${what}: ${this.#refusal(status)}`);
  }

  #refusal(status: number): string {
    const token = this.#access.token !== undefined;
    const { tokenSource = "HF_TOKEN" } = this.#access;
    switch (status) {
      case 401:
        return token
          ? `the hub rejected ${tokenSource} (401); create a new token in your account's settings`
          : "there is no such repository, or it is private or gated (401); check the name, or " +
            "set HF_TOKEN";
      case 403:
        return "the hub denied access (403); accept the model's terms on its page, and " +
          (token ? `allow ${tokenSource} to read gated repositories` : "set HF_TOKEN");
      case 404:
        return "the hub has no such repository, revision or file (404); check the name";
      default:
        return `the hub returned ${status}; check HF_ENDPOINT`;
    }
  }

  /**
   * Returns a foreign error or text in a form fit for an error message: short, printable and
   * without the token.
   */
  #shown(words: unknown): string {
    const text = fetchFailure(words);
    const { token } = this.#access;
    const safe = token === undefined ? text : text.replaceAll(token, "HF_TOKEN");
    return printable(safe.slice(0, 200));
  }

  /** Waits. Rejects with the reason of the abort if the signal is aborted before or meanwhile. */
  sleep(ms: number): Promise<void> {
    const { signal } = this.#access;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const stop = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", stop);
        resolve();
      }, ms);
      signal?.addEventListener("abort", stop, { once: true });
    });
  }
}

/**
 * Whether the response is a web page, such as the login page that some networks return for every
 * address.
 */
export function isWebPage(response: Response): boolean {
  return /^text\/html\b/i.test(response.headers.get("content-type") ?? "");
}

/**
 * Parses the hub's rate limit, in the format of the draft of the header fields RateLimit and
 * RateLimit-Policy: `"api";r=0;t=55` and `"fixed window";"api";q=500;w=300`.
 */
function rateLimit(headers: Headers): { wait: number; says: string } | undefined {
  const [, name = "", left, reset] =
    /^\s*"?([\w-]*)"?\s*;\s*r=(\d+)\s*;\s*t=(\d+)/.exec(headers.get("ratelimit") ?? "") ?? [];
  if (reset === undefined) return undefined;
  const policy = headers.get("ratelimit-policy") ?? "";
  const [quota, window] = ["q", "w"].map((key) =>
    new RegExp(`;\\s*${key}=(\\d+)`).exec(policy)?.[1]
  );
  const all = quota && window ? ` of ${quota} requests per ${window} s` : "";
  const kind = name === "" ? "" : ` for "${name}"`;
  return {
    wait: 1000 * Number(reset),
    says: `rate limit${all}${kind}: ${left} left, resets in ${reset} s`,
  };
}

function waitOf(retryAfter: string | null): number | undefined {
  if (retryAfter === null) return undefined;
  const wait = /^\d+$/.test(retryAfter)
    ? 1000 * Number(retryAfter)
    : Date.parse(retryAfter) - Date.now();
  return Number.isFinite(wait) ? Math.max(wait, 0) : undefined;
}

/** The message of fetch() for a certificate with an unknown issuer. */
const UNTRUSTED = /invalid peer certificate: UnknownIssuer/;

/**
 * Whether the network failed. fetch() and reading a truncated body throw a TypeError or a system
 * error.
 */
function isNetworkError(error: unknown): boolean {
  return error instanceof TypeError || error instanceof Deno.errors.Http ||
    error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.UnexpectedEof ||
    error instanceof Deno.errors.ConnectionRefused;
}
