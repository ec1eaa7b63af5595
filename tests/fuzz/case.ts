/** A case of the fuzzer, and the check of how it ended. */

import {
  ModelFormatError,
  ModelNotFoundError,
  RequestError,
  UnsupportedError,
} from "../../engine/errors.ts";
import { threadSeconds } from "../time.ts";
import type { Pick } from "./mutations.ts";

/** Default limits of a case: CPU seconds, bytes of memory, characters of an error's message. */
const MOST_SECONDS = 1;
const MOST_BYTES = 64 << 20;
const MOST_MESSAGE = 400;

/** An input, and the code to run on it. */
export interface Case {
  /** Bytes to save if the case fails. */
  readonly input: Uint8Array;
  readonly run: () => void | Promise<void>;
  /** Maximum CPU time in seconds. */
  readonly mostSeconds?: number;
  /** Maximum growth of memory in bytes, including garbage that is not collected yet. */
  readonly mostBytes?: number;
}

/** Makes a case from random numbers. */
export type Reader = (pick: Pick) => Case;

/** Runs a case. Returns what is wrong with its outcome, or undefined if nothing is. */
export async function verdict(
  { run, mostSeconds = MOST_SECONDS, mostBytes = MOST_BYTES }: Case,
): Promise<string | undefined> {
  const before = memory(), started = threadSeconds();
  let error: unknown;
  try {
    const running = run();
    if (running) await running;
  } catch (thrown) {
    error = thrown;
  }
  const seconds = threadSeconds() - started;
  if (seconds > mostSeconds) return `${seconds.toFixed(2)} s of CPU time`;
  const bytes = memory() - before;
  if (bytes > mostBytes) return `${bytes} bytes of memory`;
  return error === undefined ? undefined : faultOf(error);
}

/** Returns what is wrong with an error: its type, its message; undefined if nothing is. */
function faultOf(error: unknown): string | undefined {
  const isTyped = error instanceof ModelFormatError || error instanceof UnsupportedError ||
    error instanceof ModelNotFoundError || error instanceof RequestError;
  return isTyped
    ? messageFault(error.message)
    : `an error of an unexpected type: ${Deno.inspect(error)}`;
}

/** Returns what is wrong with an error message; undefined if nothing is. */
export function messageFault(message: string): string | undefined {
  if (message.length > MOST_MESSAGE) return `a message of ${message.length} characters: ${message}`;
  if (/\p{Cc}/u.test(message)) return `a raw control in ${JSON.stringify(message)}`;
  return undefined;
}

/** Bytes allocated, including garbage that is not collected yet. */
function memory(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}
