/** Maps each kind of error to an exit code. docs/cli.md lists the codes for users. */

import {
  DeviceError,
  ModelFormatError,
  ModelNotFoundError,
  RequestError,
  UnsupportedError,
} from "../engine/errors.ts";

/** The exit codes; `unknown` means an error in tvllm itself or in the system. */
export const EXIT = {
  ok: 0,
  unknown: 1,
  usage: 2,
  modelNotFound: 3,
  modelFormat: 4,
  noAdapter: 5,
  deviceFailed: 6,
  checkFailed: 7,
  interrupted: 130,
  terminated: 143,
} as const;

/** The command line, or an input that it names, is invalid (exit code 2). */
export class UsageError extends Error {
  override name = "UsageError";
}

/** The command ran, but a check that it was asked to make failed (exit code 7). */
export class CheckFailedError extends Error {
  override name = "CheckFailedError";
}

/** Some cases could not be measured; the report gives the reasons (exit code 1). */
export class CasesFailedError extends Error {
  override name = "CasesFailedError";
}

/** Ctrl-C or SIGTERM ended the command. No error message follows (exit code 130 or 143). */
export class InterruptedError extends Error {
  override name = "InterruptedError";
  constructor(readonly exitCode: number) {
    super("Interrupted");
  }
}

/** Returns the exit code for `error`. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError || error instanceof RequestError) return EXIT.usage;
  if (error instanceof ModelNotFoundError) return EXIT.modelNotFound;
  if (error instanceof ModelFormatError || error instanceof UnsupportedError) {
    return EXIT.modelFormat;
  }
  if (error instanceof DeviceError) {
    return error.kind === "no-adapter" ? EXIT.noAdapter : EXIT.deviceFailed;
  }
  if (error instanceof CheckFailedError) return EXIT.checkFailed;
  if (error instanceof InterruptedError) return error.exitCode;
  // The reader closed the pipe (`tvllm … | head`) because it needs no more output.
  if (error instanceof Deno.errors.BrokenPipe) return EXIT.ok;
  return EXIT.unknown;
}
