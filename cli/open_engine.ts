/** Loads the model of `-m` on the device of the options, with progress and notes for the user. */

import { loadModel, type Model, type ModelOptions } from "../engine/mod.ts";
import { DeviceError, RequestError } from "../engine/errors.ts";
import { printable, quote } from "../engine/files/quote.ts";
import type { ModelConfig } from "../engine/model/config.ts";
import { UsageError } from "./exit_codes.ts";
import { MeteredProgress } from "./metered_progress.ts";
import { openModel } from "./model_argument.ts";
import type { DeviceValues } from "./options.ts";
import type { Terminal } from "./terminal.ts";
import { count } from "./transfer.ts";

/** Values of the options that all commands that run a model share. */
export type EngineValues = DeviceValues & { readonly model?: string | undefined };

/**
 * Opens and loads the model; the caller closes it.
 *
 * @throws {UsageError} if options contradict each other, or the model cannot be loaded with them,
 * for example because the requested context exceeds the model's.
 * @throws {DeviceError} if the GPU, or a backend, was requested and there is no adapter.
 */
export async function openEngine(
  values: EngineValues,
  terminal: Terminal,
  options: ModelOptions = {},
): Promise<Model> {
  if (values.backend && values.device === "cpu") {
    throw new UsageError("Cannot use --backend with --device cpu: it names the GPU's graphics API");
  }
  // With --backend, a missing adapter is an error: there is no fallback to the CPU.
  const device = values.backend ? "gpu" : values.device;
  if (values.threads !== undefined && device === "gpu") {
    throw new UsageError("Cannot use --threads with --device gpu: it is for the CPU");
  }
  const file = await openModel(values.model, terminal);
  try {
    let total = 0;
    for (const { byteLength } of file.tensors.values()) total += byteLength;
    using progress = new MeteredProgress({ label: "Loading", total, unit: "byte" }, terminal);
    const model = await loadModel(file, {
      ...(device && { device }),
      ...(values.threads !== undefined && { threads: values.threads }),
      ...(values.ctxSize !== undefined && { contextLength: values.ctxSize }),
      ...(values.kvMemory !== undefined && { kvMemory: values.kvMemory }),
      kv: values.kvType,
      progress: ({ bytes }) => progress.update(bytes),
      ...options,
    });
    for (const warning of model.tokenizer.warnings) terminal.warn(warning);
    const { kind, description, detail } = model.device;
    const how = detail === undefined ? "" : `, ${detail}`;
    if (model.fallback !== undefined) {
      terminal.note(`Running on the CPU (${description}${how}): ${model.fallback}`);
    }
    if (values.ctxSize === undefined && options.expectedLength === undefined) {
      noteContext(model, terminal);
    }
    if (model.deviceNote !== undefined) terminal.note(model.deviceNote);
    for (const note of model.notes) terminal.note(`${printable(model.config.name)}: ${note}`);
    noteUnknownKeys(model.config, terminal);
    const compiled = model.loadTimes.kernels / 1000;
    const kernels = compiled > 0 ? ` (compiling kernels ${compiled.toFixed(2)} s)` : "";
    terminal.detail(
      `Loaded in ${
        (model.loadTime / 1000).toFixed(2)
      } s${kernels} on the ${kind}, ${description}${how}`,
    );
    return model;
  } catch (error) {
    file.close();
    if (values.backend && error instanceof DeviceError && error.kind === "no-adapter") {
      throw new DeviceError(
        error.kind,
        `Cannot find a GPU adapter for ${values.backend}: leave out --backend to try all, ` +
          `or use --device cpu`,
        { cause: error },
      );
    }
    if (!(error instanceof RequestError)) throw error;
    throw new UsageError(`${error.message}; change --ctx-size or --kv-memory`, { cause: error });
  }
}

/**
 * Prints a note if the context is shorter than the model's limit. The default is short because the
 * KV cache of the full context would not fit on most devices.
 */
function noteContext({ contextLength, config }: Model, terminal: Terminal): void {
  if (contextLength >= config.contextLength) return;
  terminal.note(
    `Using a context of ${count(contextLength)} tokens; -c allows up to ` +
      `${count(config.contextLength)}`,
  );
}

/** Number of unknown keys that are listed without -v. */
const NAMED_KEYS = 4;

function noteUnknownKeys({ name, unknownKeys = [] }: ModelConfig, terminal: Terminal): void {
  if (unknownKeys.length === 0) return;
  const named = unknownKeys.slice(0, NAMED_KEYS).map(quote).join(", ");
  const more = unknownKeys.length - NAMED_KEYS;
  terminal.note(
    `${
      printable(name)
    } has metadata keys that tvllm does not know, so its answers may differ from other programs': ` +
      `${named}${more > 0 ? ` and ${more} more (-v names all)` : ""}`,
  );
  if (more > 0) terminal.detail(`Unknown keys: ${unknownKeys.map(quote).join(", ")}`);
}
