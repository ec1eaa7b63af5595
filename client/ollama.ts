/**
 * ollama's own route for completions: with OpenAI's, it tells none of its times, puts every prompt into a
 * template and penalizes repetition. See https://docs.ollama.com/api/generate.
 */

import { z } from "zod";
import { type Endpoint, reasonOf } from "./endpoint.ts";
import { EndpointError } from "./errors.ts";
import { MOST_EVENT_LETTERS, type StreamPart } from "./stream.ts";

export const OLLAMA_ROUTE = "/api/generate";

/** Whether the server is ollama, or has its routes. */
export async function isOllama(endpoint: Endpoint): Promise<boolean> {
  try {
    const response = await endpoint.get("/api/version");
    return z.object({ version: z.string() }).safeParse(await response.json()).success;
  } catch (error) {
    if (endpoint.options.signal?.aborted) throw error;
    return false;
  }
}

/** Times are in ns, and counts of tokens left out where they are 0. */
const lineSchema = z.object({
  response: z.string().nullish(),
  thinking: z.string().nullish(),
  done: z.boolean().nullish(),
  done_reason: z.string().nullish(),
  prompt_eval_count: z.number().nullish(),
  prompt_eval_duration: z.number().nullish(),
  eval_count: z.number().nullish(),
  eval_duration: z.number().nullish(),
  error: z.string().nullish(),
});

/**
 * The parts of an answer as they come, a JSON object a line.
 *
 * @throws {EndpointError} if the server reports an error, or the stream is broken or cut off.
 */
export async function* readOllama(
  response: Response,
  { url, signal }: { readonly url: string; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<StreamPart> {
  let rest = "";
  let ended = false;
  try {
    for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
      const lines = text.split("\n");
      lines[0] = rest + lines[0];
      rest = lines.pop()!;
      if (rest.length > MOST_EVENT_LETTERS) throw unreadable(url, rest);
      for (const line of lines) {
        if (line.trim() === "") continue;
        const part = partOf(line, url);
        ended ||= part.finish !== undefined;
        yield part;
      }
    }
  } catch (error) {
    if (error instanceof EndpointError || signal?.aborted) throw error;
    throw new EndpointError(`Cannot read an answer of ${url}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  if (!ended) throw new EndpointError(`Cannot read an answer of ${url}: it was cut off`);
}

function partOf(line: string, url: string): StreamPart {
  const at = performance.now();
  const parsed = lineSchema.safeParse(parseJson(line));
  if (!parsed.success) throw unreadable(url, line);
  const { response, thinking, done, done_reason, error } = parsed.data;
  if (error != null) throw new EndpointError(`Cannot get an answer of ${url}: ${error}`);
  const { prompt_eval_count: prompt, eval_count: answer } = parsed.data;
  const { prompt_eval_duration: promptTime, eval_duration: answerTime } = parsed.data;
  return {
    ...{ at, reasoning: thinking ?? "", text: response ?? "", logprobs: [] },
    ...(done && { finish: done_reason ?? "stop" }),
    ...(prompt && answer && { usage: { prompt, answer, cached: undefined } }),
    ...(promptTime && answerTime && answer && {
      own: { prompt: promptTime / 1e6, perToken: answerTime / answer / 1e6 },
    }),
  };
}

function unreadable(url: string, line: string): EndpointError {
  return new EndpointError(`Cannot read an answer of ${url}: ${line.slice(0, 200)}`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
