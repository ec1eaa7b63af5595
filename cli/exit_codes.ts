/** What each kind of error does to the process's exit code. docs/cli.md lists the codes for users. */

import {
  DeviceError,
  ModelFormatError,
  ModelNotFoundError,
  RequestError,
  UnsupportedError,
} from "../engine/errors.ts";

/** The exit codes; `unknown` is a fault of tvllm itself or of the system. */
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

/** The command line, or an input that it names, cannot be used (exit code 2). */
export class UsageError extends Error {
  override name = "UsageError";
}

/** The command worked, and what it was asked to check does not hold (exit code 7). */
export class CheckFailedError extends Error {
  override name = "CheckFailedError";
}

/** Some of what was to be measured could not be, and the report says why (exit code 1). */
export class CasesFailedError extends Error {
  override name = "CasesFailedError";
}

/** Ctrl-C or SIGTERM ended the command, which has said what there was to say (130 or 143). */
export class InterruptedError extends Error {
  override name = "InterruptedError";
  constructor(readonly exitCode: number) {
    super("Interrupted");
  }
}

/** The exit code that says what `error` was. */
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
  // Who closed the pipe (`tvllm … | head`) has what it wanted.
  if (error instanceof Deno.errors.BrokenPipe) return EXIT.ok;
  return EXIT.unknown;
}
