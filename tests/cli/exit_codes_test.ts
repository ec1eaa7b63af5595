import assert from "node:assert/strict";
import {
  CasesFailedError,
  CheckFailedError,
  exitCodeOf,
  InterruptedError,
  UsageError,
} from "../../cli/exit_codes.ts";
import {
  DeviceError,
  ModelFormatError,
  ModelNotFoundError,
  RequestError,
  UnsupportedError,
} from "../../engine/errors.ts";

for (
  const [error, code] of [
    [new TypeError("a fault of ours"), 1],
    ["not even an error", 1],
    [new RangeError("Invalid array length"), 1],
    [new UsageError("u"), 2],
    [new RequestError("r"), 2],
    [new ModelNotFoundError("m"), 3],
    [new ModelFormatError("m"), 4],
    [new UnsupportedError("m"), 4],
    [new DeviceError("no-adapter", "d"), 5],
    [new DeviceError("out-of-memory", "d"), 6],
    [new DeviceError("lost", "d"), 6],
    [new CheckFailedError("c"), 7],
    [new CasesFailedError("c"), 1],
    [new InterruptedError(130), 130],
    [new InterruptedError(143), 143],
    [new Deno.errors.BrokenPipe("closed"), 0],
  ] as const
) {
  const name = error instanceof DeviceError ? `DeviceError ${error.kind}` : String(error);
  Deno.test(`exitCodeOf() maps ${name} to ${code}`, () => assert.equal(exitCodeOf(error), code));
}
