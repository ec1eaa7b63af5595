/** What one case of the fuzzer is, and how it must end. */

import {
  ModelFormatError,
  ModelNotFoundError,
  RequestError,
  UnsupportedError,
} from "../../engine/errors.ts";
import { threadSeconds } from "../time.ts";
import type { Pick } from "./mutations.ts";

/** What a case may take, where it does not say otherwise. */
const MOST_SECONDS = 1;
const MOST_BYTES = 64 << 20;
const MOST_MESSAGE = 400;

/** What one case is made of, and what is done with it. */
export interface Case {
  /** What to keep if it fails. */
  readonly input: Uint8Array;
  readonly run: () => void | Promise<void>;
  /** Of the processor's time. */
  readonly mostSeconds?: number;
  /** What was let go in the meantime included. */
  readonly mostBytes?: number;
}

/** Makes the case of a seed. */
export type Reader = (pick: Pick) => Case;

/** What is wrong with how the case ended; undefined: nothing. */
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
  if (seconds > mostSeconds) return `${seconds.toFixed(2)} s of the processor`;
  const bytes = memory() - before;
  if (bytes > mostBytes) return `${bytes} bytes of memory`;
  return error === undefined ? undefined : faultOf(error);
}

/** What is wrong with an error; undefined for one of those that callers tell apart, of one line. */
function faultOf(error: unknown): string | undefined {
  const isTyped = error instanceof ModelFormatError || error instanceof UnsupportedError ||
    error instanceof ModelNotFoundError || error instanceof RequestError;
  return isTyped ? messageFault(error.message) : `an error of no type: ${Deno.inspect(error)}`;
}

/** What is wrong with a message for people; undefined: nothing. */
export function messageFault(message: string): string | undefined {
  if (message.length > MOST_MESSAGE) return `a message of ${message.length} characters: ${message}`;
  if (/\p{Cc}/u.test(message)) return `a raw control in ${JSON.stringify(message)}`;
  return undefined;
}

/** All that was taken since the last collection, so that what is let go at once counts too. */
function memory(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}
