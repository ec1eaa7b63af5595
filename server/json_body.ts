/** Reads the JSON body of a request within limits. */

import { HttpError } from "./errors.ts";

/** Maximum depth of nested arrays and objects. Templates receive them unchanged, and recurse. */
const MOST_DEPTH = 64;

/** Limits of a body: its size in bytes, and the time in which it must arrive. */
export interface BodyLimits {
  readonly bytes: number;
  readonly milliseconds: number;
}

/**
 * Reads the body and parses it as JSON.
 *
 * @throws {HttpError} 413 if it is too large, 408 if it takes too long, 400 if it is incomplete or
 * not JSON in UTF-8.
 */
export async function readJson(request: Request, limits: BodyLimits): Promise<unknown> {
  const bytes = await readBytes(request, limits);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new HttpError(400, "Cannot read the body: it is not UTF-8", { cause });
  }
  if (depthOf(text) > MOST_DEPTH) {
    throw new HttpError(400, `Cannot read the body: it is nested more than ${MOST_DEPTH} deep`);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HttpError(400, `Cannot read the body as JSON: ${reason}`, { cause });
  }
}

async function readBytes(
  request: Request,
  { bytes, milliseconds }: BodyLimits,
): Promise<Uint8Array> {
  const tooLarge = new HttpError(413, `Cannot read the body: it is larger than ${bytes} bytes`);
  if (Number(request.headers.get("content-length") ?? 0) > bytes) throw tooLarge;
  if (request.body === null) return new Uint8Array(0);
  const reader = request.body.getReader();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    reader.cancel().catch(() => {});
  }, milliseconds);
  try {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => {
        throw new HttpError(400, "Cannot read the body: the connection was cut off", { cause });
      });
      if (done) break;
      size += value.length;
      if (size > bytes) {
        reader.cancel().catch(() => {});
        throw tooLarge;
      }
      chunks.push(value);
    }
    if (late) {
      throw new HttpError(
        408,
        `Cannot read the body: it took longer than ${milliseconds / 1000} s`,
      );
    }
    const whole = new Uint8Array(size);
    let at = 0;
    for (const chunk of chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  } finally {
    clearTimeout(timer);
  }
}

/** Returns the depth of nested arrays and objects. Ignores brackets within strings. */
function depthOf(text: string): number {
  let depth = 0;
  let most = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"?|[[\]{}]/gs)) {
    if (token === "[" || token === "{") most = Math.max(most, ++depth);
    else if (token === "]" || token === "}") depth--;
  }
  return most;
}
