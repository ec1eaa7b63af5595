/** Checks a caller's AbortSignal; from JavaScript, an option can have any type. */

import { RequestError } from "../errors.ts";

/**
 * @param failed what fails without a valid signal, to begin the message: "Cannot load the model"
 * @throws {RequestError} if `signal` is neither an AbortSignal nor absent: undefined, or null as in
 * `fetch`
 */
export function checkSignal(signal: AbortSignal | null | undefined, failed: string): void {
  if (signal === undefined || signal === null || signal instanceof AbortSignal) return;
  throw new RequestError(`${failed}: signal is not an AbortSignal`, { option: "signal" });
}
