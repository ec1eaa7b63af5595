/** Composes the prompt from the argument, options, a file and standard input. */

import { isGranted } from "../engine/files/granted.ts";
import { readFailure } from "../engine/files/input_file.ts";
import { printable } from "../engine/files/quote.ts";
import { unescaped } from "./escapes.ts";
import { UsageError } from "./exit_codes.ts";
import type { Terminal } from "./terminal.ts";

/** The sources of a prompt. */
export interface PromptSources {
  /** The positional argument; `-` reads standard input. */
  readonly argument?: string | undefined;
  readonly prompt?: string | undefined;
  readonly file?: string | undefined;
  /** Process backslash escapes in the argument and in --prompt, as `unescaped` does. */
  readonly escape?: true | undefined;
}

/** After this time, in ms, a note says that tvllm waits for standard input. */
const WAIT_NOTICE = 3000;
/** Size limit of a text: more than fits into any context. A device such as /dev/zero never ends. */
const MAX_BYTES = 32 * 2 ** 20;

/**
 * Joins standard input, the file and the prompt, in this order, with newlines between them. A
 * newline at the end of standard input or the file is dropped. Standard input is read if it is not
 * a terminal, or if the argument or the file is `-`.
 *
 * @returns the prompt; undefined if there are no parts
 * @throws {UsageError} if the prompt is given twice, or a source cannot be read or is not UTF-8.
 */
export async function composePrompt(
  sources: PromptSources,
  terminal: Terminal,
): Promise<string | undefined> {
  const { argument, prompt, file, escape } = sources;
  if (argument !== undefined && argument !== "-" && prompt !== undefined) {
    throw new UsageError("Cannot use both --prompt and a prompt as argument: give one of them");
  }
  const parts: string[] = [];
  const asked = argument === "-" || file === "-";
  if (asked || !Deno.stdin.isTerminal()) {
    const piped = withoutLineEnd(await readStdin(terminal));
    // cron, systemd and containers give every program an empty standard input.
    if (piped !== "" || asked) parts.push(piped);
  }
  if (file !== undefined && file !== "-") parts.push(withoutLineEnd(await readTextFile(file)));
  const last = argument === "-" ? prompt : argument ?? prompt;
  if (last !== undefined) parts.push(escape ? unescaped(last) : last);
  return parts.length === 0 ? undefined : parts.join("\n");
}

/** Reads all of standard input, without a byte order mark. */
export async function readStdin(terminal: Terminal): Promise<string> {
  const notice = setTimeout(() => {
    terminal.note(
      "Waiting for standard input to end (press Ctrl-D on a terminal; use < /dev/null for none)",
    );
  }, WAIT_NOTICE);
  try {
    return decodeUtf8(await collect(Deno.stdin.readable, "standard input"), "standard input");
  } finally {
    clearTimeout(notice);
  }
}

/** Reads all of a file, without a byte order mark. */
export async function readTextFile(path: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await collect((await Deno.open(path)).readable, printable(path));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`Cannot read the text file ${printable(path)}: ${reason(error, path)}`, {
      cause: error,
    });
  }
  return decodeUtf8(bytes, printable(path));
}

/**
 * Reads a stream to its end.
 *
 * @throws {UsageError} if it is larger than MAX_BYTES.
 */
async function collect(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  source: string,
): Promise<Uint8Array> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for await (const part of stream) {
    bytes += part.length;
    if (bytes > MAX_BYTES) {
      throw new UsageError(
        `Cannot read text from ${source}: it is larger than ${MAX_BYTES} bytes; shorten it`,
      );
    }
    parts.push(part);
  }
  return await new Blob(parts).bytes();
}

function reason(error: unknown, path: string): string {
  if (error instanceof Deno.errors.IsADirectory) return "it is a directory; name a file in it";
  if (error instanceof Deno.errors.NotCapable && isGranted("read", path)) {
    return "Deno does not read devices; name a file, or use - for standard input";
  }
  return readFailure(error, path);
}

/**
 * Decodes UTF-8 without a byte order mark. Windows programs begin files with one, and it would
 * become a token.
 *
 * @throws {UsageError} that gives the position of the first byte that is not UTF-8.
 */
export function decodeUtf8(bytes: Uint8Array, source: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    const byte = firstInvalidByte(bytes);
    const value = bytes[byte]!.toString(16).padStart(2, "0");
    throw new UsageError(
      `Cannot read text from ${source}: byte ${byte} (0x${value}) is not UTF-8; ` +
        `convert it, for example with iconv`,
    );
  }
}

/**
 * Returns the offset of the first byte that is not valid UTF-8: there, a decoder without `fatal`
 * puts a U+FFFD that `bytes` does not contain.
 */
function firstInvalidByte(bytes: Uint8Array): number {
  const lenient = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  const encoder = new TextEncoder();
  let offset = 0;
  let from = 0;
  for (;;) {
    const at = lenient.indexOf("\ufffd", from);
    if (at < 0) return offset;
    offset += encoder.encode(lenient.slice(from, at)).length;
    const genuine = bytes[offset] === 0xef && bytes[offset + 1] === 0xbf &&
      bytes[offset + 2] === 0xbd;
    if (!genuine) return offset;
    offset += 3;
    from = at + 1;
  }
}

function withoutLineEnd(text: string): string {
  return text.replace(/\r?\n$/, "");
}
