/** The target for a server. Its answers are timed here; nothing is known about its device. */

import process from "node:process";
import { GREEDY } from "../../engine/run/runner.ts";
import type { Environment } from "../report/report.ts";
import type { Endpoint } from "../../client/endpoint.ts";
import { EndpointError } from "../../client/errors.ts";
import type { EndpointAnswer, EndpointClient } from "./endpoint_client.ts";
import type { Program } from "./environment.ts";
import { type Pace, paced } from "./pacing.ts";
import {
  type BenchRequest,
  type CacheUse,
  type FailedRequest,
  FailedServing,
  type MemoryUse,
  type Served,
  type ServeOptions,
  type Serving,
  type Session,
  type SessionOptions,
  type Target,
} from "./target.ts";

/** The context length to assume if the server does not report it. */
const UNKNOWN_CONTEXT = 2 ** 20;

/** Letters per token of English text, if the server does not count tokens. */
const USUAL_LETTERS = 4.5;

/** A staggered request is sent when the previous one has this many pieces of text. */
const STAGGER_CHUNKS = 4;

/**
 * Prompts begin with four of these 64 words, so that they are not cached: there are 64⁴ beginnings.
 */
const WORDS =
  ("river stone lamp cloud horse bread field tower garden winter summer window letter silver copper " +
    "forest island market mirror needle orange paper planet pocket rabbit ribbon school shadow " +
    "spider spring square station street sugar table thunder ticket tiger tunnel valley velvet " +
    "village violin wagon water whistle willow wolf wonder yellow anchor apple arrow autumn basket " +
    "beach bottle bridge butter candle carpet castle cherry circle").split(" ");

/** Prompts that should begin differently differ within this many letters. */
const TOLD_APART = 8;

/** The program that measures, and its machine. */
type Client = Pick<Program, "tvllm" | "commit" | "kvType" | "startup" | "host">;

export class EndpointTarget implements Target {
  readonly environment: Environment;
  readonly limits = { maxSequences: Infinity, blocks: Infinity, maxBatchTokens: Infinity };
  readonly hasTimestamps = false;
  readonly hasServed = true;
  readonly matrices = [];
  readonly startup: Target["startup"];
  readonly loadTimes = { config: 0, tokenizer: 0, device: 0, kernels: 0, weights: 0 };
  readonly compiled = 0;
  readonly copied = { toDevice: 0, toHost: 0 };
  readonly text: Target["text"];
  readonly #ids = new Map<string, number>();
  readonly #pieces: string[] = [];

  private constructor(readonly client: EndpointClient, program: Client, letters: number) {
    this.environment = endpointEnvironment(client.endpoint, program);
    this.startup = program.startup;
    this.text = {
      // Pieces of text stand for tokens; they are as long as the server's tokens are on average.
      encode: (text) => {
        const count = Math.round(text.length / letters);
        return Array.from({ length: count }, (_, i) => {
          const piece = text.slice(Math.round(i * letters), Math.round((i + 1) * letters));
          return this.#idOf(piece);
        });
      },
      decode: (ids) => ids.map((id) => this.#pieces[id]!).join(""),
      stream: () => ({ push: (id) => this.#pieces[id] ?? "", flush: () => "" }),
    };
  }

  /** Opens a server, and measures how long its tokens are. `sample` is a text like the prompts. */
  static async open(
    client: EndpointClient,
    program: Client,
    sample: string,
  ): Promise<EndpointTarget> {
    const request = { maxTokens: 2, sampling: GREEDY };
    const long = await client.complete({ ...request, prompt: sample });
    // The difference between the two does not include what a template or BOS adds.
    const short = await client.complete({ ...request, prompt: sample.slice(0, sample.length / 2) });
    const tokens = (long.promptTokens ?? await client.tokenCount(sample) ?? 0) -
      (long.promptTokens === undefined
        ? await client.tokenCount(sample.slice(0, sample.length / 2)) ?? 0
        : short.promptTokens!);
    const letters = tokens > 0 ? sample.length / 2 / tokens : USUAL_LETTERS;
    const target = new EndpointTarget(client, program, letters);
    target.#noteCount(long);
    return target;
  }

  now(): number {
    return performance.now();
  }

  probe(): Promise<null> {
    return Promise.resolve(null);
  }

  withSession<T>(
    { sharePrefixes = false }: SessionOptions,
    use: (session: Session) => Promise<T>,
  ): Promise<T> {
    return use(new EndpointSession(this, sharePrefixes, (answer) => this.#noteCount(answer)));
  }

  margins(): Promise<number[]> {
    return Promise.reject(new Error("Cannot compare tokens: an endpoint has no logits"));
  }

  kernels(): Promise<null> {
    return Promise.resolve(null);
  }

  memory(): MemoryUse {
    return { buffers: null, peakRss: process.resourceUsage().maxRSS * 1024 };
  }

  #idOf(piece: string): number {
    const known = this.#ids.get(piece);
    if (known !== undefined) return known;
    this.#ids.set(piece, this.#pieces.length);
    return this.#pieces.push(piece) - 1;
  }

  #noteCount({ counted }: EndpointAnswer): void {
    this.environment.endpoint!.tokens = counted;
    this.environment.endpoint!.api = this.client.api;
  }
}

/** A request that failed. */
interface Failed {
  readonly error: EndpointError;
  readonly failure: FailedRequest;
}

class EndpointSession implements Session {
  #hits = 0;
  #misses = 0;
  /** The random beginnings that replace those of the prompts. */
  readonly #starts = new Map<string, string>();

  constructor(
    readonly target: EndpointTarget,
    readonly sharePrefixes: boolean,
    readonly answered: (answer: EndpointAnswer) => void,
  ) {}

  get cacheUse(): CacheUse {
    const [hits, misses] = [this.#hits, this.#misses];
    return { blocksAllocated: 0, blocksShared: 0, hits, misses, tokensSaved: hits };
  }

  async serve(
    requests: readonly BenchRequest[],
    { arrival = "concurrent", pace }: ServeOptions = {},
  ): Promise<Serving> {
    if (pace) return await this.#load(requests, pace);
    const [hits, misses] = [this.#hits, this.#misses];
    const all: Promise<Served | Failed>[] = [];
    for (const request of requests) {
      const { begun, done } = this.#ask(request);
      done.catch(() => {});
      all.push(done);
      if (arrival === "sequential" && "failure" in await done) break;
      if (arrival === "staggered") await begun;
    }
    // Wait for all: none may still run when the next serving begins.
    const [served, failed] = parted(await Promise.allSettled(all));
    if (failed.length > 0) {
      throw new FailedServing(failed.map(({ failure }) => failure), failed[0]!.error);
    }
    return {
      requests: served,
      steps: [],
      blocks: { hits: this.#hits - hits, misses: this.#misses - misses },
    };
  }

  async #load(requests: readonly BenchRequest[], pace: Pace): Promise<Serving> {
    const [hits, misses] = [this.#hits, this.#misses];
    const { signal } = this.target.client.endpoint.options;
    const start = (index: number) => this.#ask(requests[index]!).done;
    const results = await paced(requests.length, start, { pace, signal });
    const [served, failed] = parted(results);
    const blocks = { hits: this.#hits - hits, misses: this.#misses - misses };
    return { requests: served, failures: failed.map(({ failure }) => failure), steps: [], blocks };
  }

  holdSequences(): Promise<never> {
    return Promise.reject(new Error("Cannot count blocks: an endpoint does not report them"));
  }

  /** Sends a request. `done` is rejected only by errors other than a failed request. */
  #ask(
    { promptIds, maxTokens, sampling = GREEDY }: BenchRequest,
  ): { begun: Promise<void>; done: Promise<Served | Failed> } {
    const { client, text } = this.target;
    const prompt = this.#fresh(text.decode(promptIds, false));
    const begun = Promise.withResolvers<void>();
    const onChunk = (count: number) => {
      if (count === STAGGER_CHUNKS) begun.resolve();
    };
    const submitted = performance.now();
    const done = client.complete({ prompt, maxTokens, sampling, onChunk })
      .then((answer) => this.#served(answer), (error) => {
        if (!(error instanceof EndpointError)) throw error;
        return { error, failure: { submitted, ended: performance.now(), reason: error.message } };
      })
      .finally(() => begun.resolve());
    return { begun: begun.promise, done };
  }

  /**
   * Replaces the beginning of a prompt, so that no earlier prompt began like it. If prefixes are
   * shared, it only avoids the beginnings of earlier sessions: the server has its own cache, which
   * outlives sessions.
   */
  #fresh(prompt: string): string {
    const begun = prompt.slice(0, TOLD_APART);
    const start = (this.sharePrefixes ? this.#starts.get(begun) : undefined) ?? randomStart();
    this.#starts.set(begun, start);
    return (start + prompt.slice(start.length)).slice(0, Math.max(prompt.length, start.length));
  }

  #served(answer: EndpointAnswer): Served {
    this.answered(answer);
    const { submitted, chunks, tokens, promptTokens, cachedTokens, own } = answer;
    if (promptTokens !== undefined && cachedTokens !== undefined) {
      this.#hits += cachedTokens;
      this.#misses += promptTokens - cachedTokens;
    }
    return {
      ids: Array.from({ length: tokens }, (_, i) => i),
      submitted,
      times: spread(chunks, tokens),
      ...(promptTokens !== undefined && { promptTokens }),
      ...(cachedTokens !== undefined && { cachedTokens }),
      ...(own && { own }),
    };
  }
}

/** The requests that were served, and those that failed. Other errors are thrown. */
function parted(
  results: readonly PromiseSettledResult<Served | Failed>[],
): [served: Served[], failed: Failed[]] {
  const served: Served[] = [];
  const failed: Failed[] = [];
  for (const result of results) {
    if (result.status === "rejected") throw result.reason;
    if ("failure" in result.value) failed.push(result.value);
    else served.push(result.value);
  }
  return [served, failed];
}

/** Four random words, with which no prompt began before. */
function randomStart(): string {
  const random = crypto.getRandomValues(new Uint32Array(4));
  return Array.from(random, (n) => WORDS[n % WORDS.length]).join(" ") + ". ";
}

/**
 * Distributes the times of chunks over this many tokens. The first and the last token have those of
 * the first and the last chunk.
 */
function spread(chunks: readonly number[], tokens: number): number[] {
  return Array.from({ length: tokens }, (_, i) => {
    const at = tokens === 1 ? 0 : i * (chunks.length - 1) / (tokens - 1);
    return chunks[Math.round(at)]!;
  });
}

/** The environment in the report of a server. Unknown numbers about its model are 0. */
function endpointEnvironment(
  { url, facts: { model, server, contextLength } }: Endpoint,
  { tvllm, commit, kvType, host }: Client,
): Environment {
  return {
    host: { ...host, threads: 1 },
    device: {
      description: `${server} at ${url}`,
      vendor: "",
      architecture: "",
      kind: "endpoint",
      driver: "hardware",
      api: "none",
      driverVersion: "none",
    },
    model: {
      name: model,
      architecture: "unknown",
      parameters: 0,
      sha256: "unknown",
      formats: [],
      bitsPerWeight: 0,
      fileBytes: 0,
      tensorBytes: 0,
      readBytes: 0,
      readWeights: 0,
      deviceBytes: 0,
      dim: 0,
      layers: 0,
      layerKinds: [],
      heads: 0,
      kvHeads: 0,
      headDim: 0,
      ffnDim: 0,
      vocabSize: 0,
      contextLength: contextLength ?? UNKNOWN_CONTEXT,
    },
    engine: { tvllm, commit, deno: Deno.version.deno, kernels: "none", kvType },
    endpoint: { url, server, api: "completions", tokens: "usage" },
  };
}
