/** A session on an engine: submits requests, and records when their tokens reach a consumer. */

import type { Engine } from "../../engine/run/engine.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { checkNotShortened } from "../../engine/run/sequence.ts";
import type { TokenStream } from "../../engine/run/token_stream.ts";
import { TextStream } from "../../engine/text/streaming.ts";
import type { Tokenizer } from "../../engine/text/tokenizer.ts";
import type {
  BenchRequest,
  CacheUse,
  HeldBlocks,
  Served,
  ServeOptions,
  Serving,
  Session,
  TextMaking,
} from "./target.ts";
import type { TimedRunner } from "./timed_runner.ts";

// A staggered request is submitted when the previous one has this many tokens.
const STAGGER_TOKENS = 4;

export class EngineSession implements Session {
  /** Detokenizers that are not in use. */
  readonly #pool: TextStream[] = [];

  /** The engine belongs to this session alone, and runs on `runner`. */
  constructor(
    readonly engine: Engine,
    readonly runner: TimedRunner,
    readonly options: {
      readonly tokenizer: Tokenizer;
      readonly sharePrefixes: boolean;
      readonly contextLength: number;
      /** Aborts what is being served; `serve` then throws its reason. */
      readonly signal: AbortSignal | undefined;
    },
  ) {}

  get cacheUse(): CacheUse {
    const { blocks, prefix: { hits, misses, tokensSaved, blocksShared } } = this.engine.stats;
    return { blocksAllocated: blocks.allocations, blocksShared, hits, misses, tokensSaved };
  }

  async serve(
    requests: readonly BenchRequest[],
    { arrival = "concurrent", profile = false, text }: ServeOptions = {},
  ): Promise<Serving> {
    this.runner.begin(profile);
    const before = this.cacheUse;
    const served: Promise<Served>[] = [];
    for (const request of requests) {
      const stream = this.#submit(request);
      try {
        // A shorter answer would give figures of something else.
        checkNotShortened(stream.sequence, this.options.contextLength);
      } catch (error) {
        stream.cancel();
        throw error;
      }
      const reading = consume(stream, this.#reader(text));
      served.push(reading.done);
      if (arrival === "sequential") await reading.done;
      if (arrival === "staggered") await reading.begun;
    }
    const done = await Promise.all(served);
    this.options.signal?.throwIfAborted();
    const { hits, misses } = this.cacheUse;
    const blocks = { hits: hits - before.hits, misses: misses - before.misses };
    return { requests: done, steps: [...this.runner.steps], blocks };
  }

  async holdSequences(prompts: readonly (readonly number[])[]): Promise<HeldBlocks> {
    const { contextLength, sharePrefixes } = this.options;
    const streams: TokenStream[] = [];
    for (const [i, promptIds] of prompts.entries()) {
      const stream = this.#submit({ promptIds, maxTokens: contextLength });
      streams.push(stream);
      // The other sequences can share the blocks of the first one only when it has computed them.
      if (sharePrefixes && i === 0) await stream.next();
    }
    await Promise.all(streams.slice(sharePrefixes ? 1 : 0).map((stream) => stream.next()));
    this.options.signal?.throwIfAborted();
    const sequences = streams.map((stream) => stream.sequence);
    const { kvGroups } = this.engine.stats;
    return {
      used: kvGroups.map(({ used }) => used),
      held: kvGroups.map((_, group) =>
        sequences.reduce(
          (sum, { blocks: { tables, givenBack } }) =>
            sum + tables[group]!.length - givenBack[group]!,
          0,
        )
      ),
      tokens: sequences.map((sequence) => sequence.computed),
    };
  }

  #submit({ promptIds, maxTokens, sampling = GREEDY }: BenchRequest): TokenStream {
    return this.engine.submit({ promptIds, maxTokens, sampling, stopIds: [] });
  }

  /** Creates the consumer of a request's tokens. */
  #reader(text: TextMaking | undefined): Reader {
    if (text === undefined) return { push: () => {}, end: () => {} };
    const { tokenizer } = this.options;
    const encoder = new TextEncoder();
    const write = (piece: string) => void encoder.encode(piece);
    if (text === "naive") {
      return {
        push: (id) => write(tokenizer.decode([id], { continues: true })),
        end: () => {},
      };
    }
    const stream = (text === "pooled" ? this.#pool.pop() : undefined) ?? new TextStream(tokenizer);
    return {
      push: (id) => write(stream.push(id)),
      end: () => {
        write(stream.flush());
        if (text === "pooled") this.#pool.push(stream);
      },
    };
  }
}

/** Consumes the tokens of one request. */
interface Reader {
  push(id: number): void;
  end(): void;
}

/** Reads a stream as a user of it would, and records when each token arrives. */
function consume(
  stream: TokenStream,
  reader: Reader,
): { begun: Promise<void>; done: Promise<Served> } {
  const begun = Promise.withResolvers<void>();
  const readAll = async () => {
    const ids: number[] = [];
    const times: number[] = [];
    try {
      for await (const { id } of stream) {
        reader.push(id);
        times.push(performance.now());
        if (ids.push(id) === STAGGER_TOKENS) begun.resolve();
      }
    } finally {
      begun.resolve();
    }
    reader.end();
    return { ids, times, submitted: stream.timings.submitted };
  };
  const done = readAll();
  // Callers that await `done` get its error. Until they do, while other requests arrive, it must
  // not count as unhandled.
  done.catch(() => {});
  return { begun: begun.promise, done };
}
