/**
 * ollama's own route for completions. With OpenAI's route, ollama does not report its times, puts
 * every prompt into a template and penalizes repetition. See https://docs.ollama.com/api/generate.
 */

import { z } from "zod";
import type { Endpoint } from "./endpoint.ts";
import {
  type AnswerSource,
  failed,
  MOST_EVENT_LETTERS,
  parseJson,
  type PartParser,
  readParts,
  type StreamPart,
  unreadable,
} from "./stream.ts";

export const OLLAMA_ROUTE = "/api/generate";

/** Whether the server is ollama, or has ollama's routes. */
export async function isOllama(endpoint: Endpoint): Promise<boolean> {
  try {
    const response = await endpoint.get("/api/version");
    return z.object({ version: z.string() }).safeParse(await response.json()).success;
  } catch (error) {
    if (endpoint.options.signal?.aborted) throw error;
    return false;
  }
}

/** A line of the answer. Times are in ns. Counts of tokens are left out if they are 0. */
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

/** Reads the parts of an answer, one JSON object per line; throws as `readParts` does. */
export function readOllama(response: Response, source: AnswerSource): AsyncGenerator<StreamPart> {
  return readParts(response, source, new LineParser(source.url));
}

class LineParser implements PartParser {
  ended = false;
  #rest = "";

  constructor(readonly url: string) {}

  *feed(text: string): Generator<StreamPart> {
    const lines = text.split("\n");
    lines[0] = this.#rest + lines[0];
    this.#rest = lines.pop()!;
    if (this.#rest.length > MOST_EVENT_LETTERS) throw unreadable(this.#rest, this.url);
    for (const line of lines) {
      if (line.trim() === "") continue;
      const part = partOf(line, this.url);
      this.ended ||= part.finish !== undefined;
      yield part;
    }
  }
}

function partOf(line: string, url: string): StreamPart {
  const at = performance.now();
  const parsed = lineSchema.safeParse(parseJson(line));
  if (!parsed.success) throw unreadable(line, url);
  const { response, thinking, done, done_reason, error } = parsed.data;
  if (error != null) throw failed(error, url);
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
