/**
 * The error classes that callers tell apart; cli/ maps each to an exit code. A RangeError or
 * TypeError that leaves the engine is a fault of tvllm itself, as V8's own are.
 *
 * Messages are one line and start with the action that failed:
 * `Cannot read tensor 'x' of m.gguf: offset 12 is past the end of the file (size 8)`.
 */

/** Whether a prompt does not fit the context, or something else is wrong with a request. */
export type RequestErrorKind = "invalid" | "too-long";

/**
 * What the caller asked for cannot be done, and would be if it were asked differently: an option out
 * of range, an empty prompt, messages that the chat template refuses (exit code 2).
 */
export class RequestError extends Error {
  /** @ignore */
  override name = "RequestError";
  /** "too-long" if the prompt does not fit the context. */
  readonly kind: RequestErrorKind;

  /** `options.kind` is "invalid" by default. */
  constructor(message: string, options: ErrorOptions & { readonly kind?: RequestErrorKind } = {}) {
    super(message, options);
    this.kind = options.kind ?? "invalid";
  }
}

/** A model cannot be found or downloaded (exit code 3). */
export class ModelNotFoundError extends Error {
  /** @ignore */
  override name = "ModelNotFoundError";
}

/** A model file is damaged or contradicts itself (exit code 4). */
export class ModelFormatError extends Error {
  /** @ignore */
  override name = "ModelFormatError";
}

/** A model file is sound, but asks for something that tvllm does not do (exit code 4). */
export class UnsupportedError extends Error {
  /** @ignore */
  override name = "UnsupportedError";
}

/** What went wrong on the device: none that suits, out of memory, or lost. */
export type DeviceErrorKind = "no-adapter" | "out-of-memory" | "lost";

/** The device cannot do the work (exit code 5 for `no-adapter`, else 6). */
export class DeviceError extends Error {
  /** @ignore */
  override name = "DeviceError";
  /** What went wrong. */
  readonly kind: DeviceErrorKind;

  /** The message names the device, and what to do. */
  constructor(kind: DeviceErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}
