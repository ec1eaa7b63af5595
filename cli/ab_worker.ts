/**
 * One side of `bench ab --against`, in its own process. It loads a model with the library of a
 * checkout and serves the prompts that it reads from standard input, one per line. At run time it
 * imports only that library, because the checkout may be of any age.
 *
 * The argument is a WorkerStart as JSON. The first line of output is a WorkerReady, each further
 * line a WorkerServed. If anything fails, the last line is a WorkerFailed.
 */

import type { load as Load } from "../engine/mod.ts";

export interface WorkerStart {
  /** URL of the checkout's mod.ts. */
  readonly library: string;
  readonly model: string;
  readonly options: Parameters<typeof Load>[1];
}

export interface WorkerReady {
  readonly device: {
    readonly kind: "gpu" | "cpu";
    readonly description: string;
    readonly driver: "hardware" | "software";
    readonly detail?: string;
  };
  readonly fallback?: string | undefined;
  readonly contextLength: number;
  readonly deno: string;
}

/** A prompt to serve. */
export interface WorkerRequest {
  readonly promptIds: readonly number[];
  readonly maxTokens: number;
}

export interface WorkerServed {
  readonly ids: readonly number[];
  /** In ms, by the worker's own clock. */
  readonly submitted: number;
  readonly times: readonly number[];
}

export interface WorkerFailed {
  readonly error: string;
}

if (import.meta.main) {
  const { library, model: path, options } = JSON.parse(Deno.args[0]!) as WorkerStart;
  const say = (line: WorkerReady | WorkerServed | WorkerFailed) =>
    Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(line)}\n`));
  try {
    const { load } = await import(library) as { load: typeof Load };
    await using model = await load(path, options);
    const { device, fallback, contextLength } = model;
    say({ device, fallback, contextLength, deno: Deno.version.deno });
    const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
    let text = "";
    for await (const chunk of lines) {
      text += chunk;
      for (let end; (end = text.indexOf("\n")) >= 0; text = text.slice(end + 1)) {
        const { promptIds, maxTokens } = JSON.parse(text.slice(0, end)) as WorkerRequest;
        // A new engine for each run: no run finds its prompt in the prefix cache.
        const served = await model.withEngine({ prefixCacheBlocks: 0 }, async (engine) => {
          const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, seed: 0 };
          const ids: number[] = [];
          const times: number[] = [];
          const submitted = performance.now();
          const stream = engine.submit({ promptIds, maxTokens, sampling, stopIds: [] });
          for await (const { id } of stream) {
            ids.push(id);
            times.push(performance.now());
          }
          if (ids.length < maxTokens) {
            throw new Error(
              `Cannot generate ${maxTokens} tokens after a prompt of ${promptIds.length}: the KV ` +
                `cache is full after ${ids.length}; request fewer tokens, or raise --kv-memory`,
            );
          }
          return { ids, submitted, times };
        });
        say(served);
      }
    }
  } catch (error) {
    say({ error: error instanceof Error ? error.message : String(error) });
    Deno.exit(1);
  }
}
