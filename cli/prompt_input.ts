/** Reads what the user wants said from arguments, a file and standard input. */

import { readFailure } from "../engine/files/input_file.ts";
import { printable } from "../engine/files/quote.ts";
import { unescaped } from "./escapes.ts";
import { UsageError } from "./exit_codes.ts";
import type { Terminal } from "./terminal.ts";

/** Where a prompt may come from. */
export interface PromptSources {
  /** The positional argument; `-` reads standard input. */
  readonly argument?: string | undefined;
  readonly prompt?: string | undefined;
  readonly file?: string | undefined;
  /** Backslashes in argument and prompt are read as `unescaped` does. */
  readonly escape?: true | undefined;
}

/** After this many ms without input the user is told what tvllm waits for. */
const WAIT_NOTICE = 3000;
/** More text than any context holds; a device such as /dev/zero never ends. */
const MAX_BYTES = 32 * 2 ** 20;

/**
 * Standard input (if it is a pipe or a file, or `-` asks for it as argument or file), the file, then the prompt, a line
 * each, less the line ends that close the first two. Undefined if there is nothing of these.
 *
 * @throws {UsageError} if the prompt is given twice, or a source cannot be read or is no UTF-8.
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
    // An empty standard input is what cron, systemd and containers give to every program.
    if (piped !== "" || asked) parts.push(piped);
  }
  if (file !== undefined && file !== "-") parts.push(withoutLineEnd(await readTextFile(file)));
  const last = argument === "-" ? prompt : argument ?? prompt;
  if (last !== undefined) parts.push(escape ? unescaped(last) : last);
  return parts.length === 0 ? undefined : parts.join("\n");
}

/** All of standard input, as it is but for a byte order mark. */
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

/** All of a file, as it is but for a byte order mark. */
export async function readTextFile(path: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await collect((await Deno.open(path)).readable, printable(path));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`Cannot read the text file ${printable(path)}: ${reason(error)}`, {
      cause: error,
    });
  }
  return decodeUtf8(bytes, printable(path));
}

/** All that comes, within the limit. */
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

function reason(error: unknown): string {
  if (error instanceof Deno.errors.IsADirectory) return "it is a directory; name a file in it";
  if (error instanceof Deno.errors.NotCapable) {
    return "Deno does not read devices; name a file, or use - for standard input";
  }
  return readFailure(error);
}

/**
 * The text without the byte order mark that Windows programs begin files with: it would be a token.
 *
 * @throws {UsageError} that names the first byte that is not UTF-8.
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

/** Offset of the first byte at which a decoder without `fatal` puts U+FFFD that is not in `bytes`. */
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
