/**
 * The error classes that callers tell apart; cli/ maps each to an exit code. Anything else that
 * is wrong with an argument is a TypeError (wrong type), RangeError (value out of range) or
 * SyntaxError (text that does not parse).
 *
 * Messages are one line and start with the action that failed:
 * `Cannot read tensor 'x' of m.gguf: offset 12 is past the end of the file (size 8)`.
 */

/** A model cannot be found or downloaded (exit code 3). */
export class ModelNotFoundError extends Error {
  override name = "ModelNotFoundError";
}

/** A model file is damaged or contradicts itself (exit code 4). */
export class ModelFormatError extends Error {
  override name = "ModelFormatError";
}

/** A model file is sound, but asks for something that tvllm does not do (exit code 4). */
export class UnsupportedError extends Error {
  override name = "UnsupportedError";
}

/** What went wrong on the device: none that suits, out of memory, or lost. */
export type DeviceErrorKind = "no-adapter" | "out-of-memory" | "lost";

/** The device cannot do the work (exit code 5 for `no-adapter`, else 6). */
export class DeviceError extends Error {
  override name = "DeviceError";
  constructor(readonly kind: DeviceErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}
