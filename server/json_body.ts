/** The JSON body of a request, read within bounds and checked by a schema. */

import type { z } from "zod";
import { HttpError } from "./errors.ts";

/** Arrays and objects within each other; templates get them as they are, and recurse. */
const MOST_DEPTH = 64;

/** How much a client may send, and how long it may take. */
export interface BodyLimits {
  readonly bytes: number;
  readonly milliseconds: number;
}

/**
 * Reads the body and parses it as JSON.
 *
 * @throws {HttpError} 413 above the limit, 408 if the client takes too long, 400 if it is not JSON in UTF-8,
 * or cut off.
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
        throw new HttpError(400, "Cannot read the body: its connection ended before it", { cause });
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

/** How deep arrays and objects are within each other, brackets within strings left out. */
function depthOf(text: string): number {
  let depth = 0;
  let most = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"?|[[\]{}]/gs)) {
    if (token === "[" || token === "{") most = Math.max(most, ++depth);
    else if (token === "]" || token === "}") depth--;
  }
  return most;
}

/**
 * The fields that `schema` has of a body.
 *
 * @throws {HttpError} 400, naming the first field that is not as it should be.
 */
export function checked<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  const field = path.map(String).join(".");
  const where = field === "" ? "the body" : `'${field}'`;
  throw new HttpError(400, `Cannot use ${where}: ${message}`, {
    ...(field !== "" && { param: field }),
    cause: result.error,
  });
}
