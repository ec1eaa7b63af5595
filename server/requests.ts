/**
 * Schemas of the requests' bodies: fields of OpenAI's API, and extensions of vLLM and llama-server.
 * Other fields are ignored, but a field that would change the answer is rejected
 * (`refuseUnsupported`).
 */

import { z } from "zod";
import { HttpError } from "./errors.ts";

const count = z.int().min(0).nullish();
const length = z.int().min(1).nullish();
const number = z.number().nullish();
const flag = z.boolean().nullish();

/** Largest number of alternatives that can be requested for each token. */
const MOST_LOGPROBS = 20;
const MOST_STOPS = 16;

const shared = {
  model: z.string().nullish(),
  max_tokens: length,
  min_tokens: count,
  ignore_eos: flag,
  temperature: number,
  top_p: number,
  // -1 means all tokens, as in vLLM.
  top_k: z.int().min(-1).nullish(),
  min_p: number,
  seed: z.int().nullish(),
  stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(MOST_STOPS)], {
    error: `expected a text, or a list of at most ${MOST_STOPS} texts`,
  }).nullish(),
  presence_penalty: number,
  frequency_penalty: number,
  repetition_penalty: number,
  logit_bias: z.record(z.string().regex(/^\d{1,10}$/, "expected token ids as keys"), z.number())
    .nullish(),
  stream: flag,
  stream_options: z.object({
    include_usage: flag,
    continuous_usage_stats: flag,
  }).nullish(),
};

/** The fields that completions and chat completions share. */
export type SharedFields = z.infer<z.ZodObject<typeof shared>>;

const ids = z.array(z.int().min(0)).min(1);

/** The body of `POST /v1/completions`. */
export const completionSchema = z.object({
  ...shared,
  prompt: z.union([z.string(), ids, z.array(z.string()).min(1), z.array(ids).min(1)], {
    error: "expected a text, token ids, or a list of either",
  }),
  echo: flag,
  logprobs: z.int().min(0).max(MOST_LOGPROBS).nullish(),
});

/** A checked body of `POST /v1/completions`. */
export type CompletionBody = z.infer<typeof completionSchema>;

const textPart = z.object({ type: z.literal("text"), text: z.string() });

const message = z.object({
  role: z.string().min(1),
  content: z.union([z.string(), z.array(textPart)], {
    error: "expected a text, or parts of type text",
  }).nullish(),
  reasoning_content: z.string().nullish(),
});

/** The body of `POST /v1/chat/completions`. */
export const chatSchema = z.object({
  ...shared,
  messages: z.array(message).min(1),
  max_completion_tokens: length,
  logprobs: flag,
  top_logprobs: z.int().min(0).max(MOST_LOGPROBS).nullish(),
  chat_template_kwargs: z.record(z.string(), z.unknown()).nullish(),
});

/** A checked body of `POST /v1/chat/completions`. */
export type ChatBody = z.infer<typeof chatSchema>;

/** The body of `POST /tokenize`: vLLM's (`prompt`) or llama-server's (`content`). */
export const tokenizeSchema = z.object({
  prompt: z.string().nullish(),
  content: z.string().nullish(),
  add_special_tokens: flag,
  add_special: flag,
});

/** The body of `POST /detokenize`. */
export const detokenizeSchema = z.object({ tokens: z.array(z.int().min(0)) });

/** Unsupported fields, each with a test for values that change nothing and can be ignored. */
const REFUSED: Readonly<Record<string, (value: unknown) => boolean>> = {
  tools: isEmpty,
  functions: isEmpty,
  response_format: (value) => isEmpty(value) || (value as { type?: unknown }).type === "text",
  n: (value) => value === 1,
  best_of: (value) => value === 1,
  suffix: isEmpty,
  prompt_embeds: isEmpty,
  use_beam_search: (value) => value === false,
};

function isEmpty(value: unknown): boolean {
  return value === "" || (Array.isArray(value) && value.length === 0);
}

/**
 * @throws {HttpError} 400 if the body requests something unsupported, so that it is not ignored.
 */
export function refuseUnsupported(body: unknown): void {
  if (typeof body !== "object" || body === null) return;
  const fields = body as Readonly<Record<string, unknown>>;
  for (const [name, isIgnored] of Object.entries(REFUSED)) {
    const value = fields[name];
    if (value === undefined || value === null || isIgnored(value)) continue;
    const why = name === "n" || name === "best_of"
      ? "only one answer per request is supported"
      : "it is not supported";
    throw new HttpError(400, `Cannot use '${name}': ${why}`, {
      code: "unsupported_parameter",
      param: name,
    });
  }
  const { messages } = fields;
  if (!Array.isArray(messages)) return;
  for (const [i, message] of messages.entries()) {
    const parts: unknown = message?.content;
    const part = Array.isArray(parts) ? parts.find((p) => p?.type !== "text") : undefined;
    if (part === undefined) continue;
    throw new HttpError(
      400,
      `Cannot use a part of type '${
        String(part?.type)
      }' in messages.${i}.content: only text is supported`,
      { code: "unsupported_parameter", param: `messages.${i}.content` },
    );
  }
}
