/**
 * The error classes that callers distinguish; cli/ maps each to an exit code. A RangeError or
 * TypeError that leaves the engine is a bug in tvllm itself, as are those that V8 throws.
 *
 * Messages are one line and start with the action that failed:
 * `Cannot read tensor 'x' of m.gguf: offset 12 is past the end of the file (size 8)`.
 */

/** "too-long" if the prompt does not fit the context or the KV cache, "invalid" for anything else. */
export type RequestErrorKind = "invalid" | "too-long";

/**
 * A request that cannot be served, but could be with other arguments: an option is out of range,
 * the prompt is empty, or the chat template rejects the messages (exit code 2).
 */
export class RequestError extends Error {
  /** @ignore */
  override name = "RequestError";
  /** "too-long" if the prompt does not fit the context or the KV cache. */
  readonly kind: RequestErrorKind;
  /** The option at fault, such as "maxTokens", if it is a single one; the message has its name. */
  readonly option: string | undefined;

  /** `options.kind` is "invalid" by default. */
  constructor(
    message: string,
    options: ErrorOptions & { readonly kind?: RequestErrorKind; readonly option?: string } = {},
  ) {
    super(message, options);
    this.kind = options.kind ?? "invalid";
    this.option = options.option;
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

/** A model file is valid, but needs something that tvllm does not support (exit code 4). */
export class UnsupportedError extends Error {
  /** @ignore */
  override name = "UnsupportedError";
}

/** What went wrong: no suitable device, out of memory, or device lost. */
export type DeviceErrorKind = "no-adapter" | "out-of-memory" | "lost";

/** The device cannot do the work (exit code 5 for `no-adapter`, else 6). */
export class DeviceError extends Error {
  /** @ignore */
  override name = "DeviceError";
  /** What went wrong. */
  readonly kind: DeviceErrorKind;

  /** `message` names the device and how to fix the problem. */
  constructor(kind: DeviceErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}
