/** What a request is answered with that cannot be served: OpenAI's error bodies. */

import { RequestError } from "../engine/errors.ts";
import { escapeControls } from "../engine/text/terminal_text.ts";

/** More about an error: its code, the field that it is about, and when to try again, in seconds. */
interface HttpErrorOptions extends ErrorOptions {
  readonly code?: string;
  readonly param?: string;
  readonly retryAfter?: number;
}

/** OpenAI's names of kinds of errors, by status. */
const TYPES: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  429: "rate_limit_error",
};

/** Ends a request with an HTTP status and one line for its user. */
export class HttpError extends Error {
  override name = "HttpError";
  readonly options: HttpErrorOptions;

  constructor(readonly status: number, message: string, options: HttpErrorOptions = {}) {
    // It may quote what the client sent, and is one line.
    super(escapeControls(message.replaceAll(/[\n\t]/g, " ")), options);
    this.options = options;
  }
}

/** The answer to a client whose request failed with `error`. What is no fault of its is told without detail. */
export function httpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof RequestError) {
    const code = error.kind === "too-long" ? "context_length_exceeded" : undefined;
    return new HttpError(400, error.message, { cause: error, ...(code && { code }) });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new HttpError(500, message, { cause: error });
}

/** The body, also of an event in a stream. */
export function errorBody({ status, message, options: { code, param } }: HttpError) {
  const type = TYPES[status] ?? (status < 500 ? "invalid_request_error" : "server_error");
  return { error: { message, type, param: param ?? null, code: code ?? null } };
}

/** The whole response. */
export function errorResponse(error: HttpError): Response {
  const { retryAfter } = error.options;
  return Response.json(errorBody(error), {
    status: error.status,
    headers: {
      ...(retryAfter !== undefined && { "retry-after": String(retryAfter) }),
      // The rest of the body is not read.
      ...([408, 413].includes(error.status) && { connection: "close" }),
      ...(error.status === 401 && { "www-authenticate": "Bearer" }),
    },
  });
}
