/** Errors of the engine, in the words of a request's body. */

import { RequestError } from "../engine/errors.ts";
import { HttpError, httpError } from "./errors.ts";

/** The fields from which the engine's options come. */
const FIELDS: Readonly<Record<string, string>> = {
  maxTokens: "max_tokens",
  minTokens: "min_tokens",
  topK: "top_k",
  topP: "top_p",
  minP: "min_p",
  repeatPenalty: "repetition_penalty",
  presencePenalty: "presence_penalty",
  frequencyPenalty: "frequency_penalty",
  logitBias: "logit_bias",
};

/**
 * Calls `work`. If the engine refuses an option, the error names the field that the client sent.
 *
 * @param own the fields of this kind of request, by option
 * @throws {HttpError} 400 instead of a RequestError that names an option.
 */
export function withFieldNames<T>(own: Readonly<Record<string, string>>, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof RequestError) || error.option === undefined) throw error;
    const fields = { ...FIELDS, ...own };
    const { status, message, options } = httpError(error);
    throw new HttpError(status, message.replaceAll(/\w+/g, (word) => fields[word] ?? word), {
      ...options,
      param: fields[error.option] ?? error.option,
    });
  }
}
