/** Tells why a request of fetch() failed: its own message does not. */

/** Returns the messages of an error and its causes, joined by colons. */
export function messages(error: unknown): string {
  if (!(error instanceof Error)) return "";
  return [error.message, messages(error.cause)].filter((message) => message !== "").join(": ");
}

/**
 * Returns why a request failed, such as `tcp connect error: Connection refused (os error 111)`. The
 * address is left out, as it is long and known.
 */
export function fetchFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return messages(error).replace(/^.*client error \(\w+\): /, "");
}
