/** Errors of requests, and their responses in OpenAI's format. */

import { RequestError } from "../engine/errors.ts";
import { escapeControls } from "../engine/text/terminal_text.ts";

/** Details of an error. */
interface HttpErrorOptions extends ErrorOptions {
  /** OpenAI's code of the error. */
  readonly code?: string;
  /** The field that caused the error. */
  readonly param?: string;
  /** Methods of the path, if the request's method is not among them. */
  readonly allow?: readonly string[];
  /** Time after which the client may try again, in seconds. */
  readonly retryAfter?: number;
}

/** OpenAI's types of errors, by status. */
const TYPES: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  429: "rate_limit_error",
};

/** Ends a request with an HTTP status and a message of one line. */
export class HttpError extends Error {
  override name = "HttpError";
  readonly options: HttpErrorOptions;

  constructor(readonly status: number, message: string, options: HttpErrorOptions = {}) {
    // The message may quote text from the client, so escape control characters.
    super(escapeControls(message.replaceAll(/[\n\t]/g, " ")), options);
    this.options = options;
  }
}

/** Converts an error to an HttpError: 400 for an invalid request, 500 for any other error. */
export function httpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof RequestError) {
    const code = error.kind === "too-long" ? "context_length_exceeded" : undefined;
    return new HttpError(400, error.message, { cause: error, ...(code && { code }) });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new HttpError(500, message, { cause: error });
}

/** Returns the body of an error response, or of an error event in a stream. */
export function errorBody({ status, message, options: { code, param } }: HttpError) {
  const type = TYPES[status] ?? (status < 500 ? "invalid_request_error" : "server_error");
  return { error: { message, type, param: param ?? null, code: code ?? null } };
}

/** Returns the response for an error. */
export function errorResponse(error: HttpError): Response {
  const { retryAfter, allow } = error.options;
  return Response.json(errorBody(error), {
    status: error.status,
    headers: {
      ...(retryAfter !== undefined && { "retry-after": String(retryAfter) }),
      ...(allow && { allow: [...allow, "OPTIONS"].join(", ") }),
      // Close the connection, because the rest of the request's body is not read.
      ...([408, 413].includes(error.status) && { connection: "close" }),
      ...(error.status === 401 && { "www-authenticate": "Bearer" }),
    },
  });
}
