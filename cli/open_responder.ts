/** Opens the responder: the server of `--endpoint`, or the model of `-m`. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { EndpointError } from "../client/errors.ts";
import type { ModelOptions } from "../engine/mod.ts";
import { endpointOf, type EndpointValues } from "./endpoint_options.ts";
import { UsageError } from "./exit_codes.ts";
import { Interrupts } from "./interrupt.ts";
import { type EngineValues, openEngine } from "./open_engine.ts";
import { dropWrite } from "./permissions.ts";
import { ModelResponder, type Responder } from "./responder.ts";
import type { Terminal } from "./terminal.ts";

/** Options for a model on this machine, and options for which servers have no field. */
const LOCAL = [
  "model",
  "device",
  "threads",
  "backend",
  "ctxSize",
  "kvMemory",
  "kvType",
  "chatTemplate",
  "chatTemplateFile",
  "repeatLastN",
] as const;

/** The values of the command line. */
interface Opening {
  readonly values: EngineValues & EndpointValues;
  /** Number of answers that are generated at the same time. */
  readonly concurrency: number;
}

/**
 * Opens the responder; the caller disposes of it.
 *
 * @throws {UsageError} if the server cannot be used.
 * @throws as `openEngine` does.
 */
export async function openResponder(
  { values, concurrency }: Opening,
  terminal: Terminal,
): Promise<Responder> {
  const choice = endpointOf(values);
  if (choice === undefined) {
    const options: ModelOptions = { maxSequences: concurrency };
    return new ModelResponder(await openEngine(values, terminal, options));
  }
  dropWrite();
  // Imported here because these modules take some time to load.
  const { Endpoint } = await import("../client/endpoint.ts");
  const { RemoteResponder } = await import("./remote_responder.ts");
  using interrupts = new Interrupts();
  const endpoint = await usable(Endpoint.open({ ...choice, signal: interrupts.signal }));
  return new RemoteResponder(endpoint, concurrency);
}

/**
 * With --endpoint, rejects the options that do not apply to a server.
 *
 * @throws {UsageError} that names such an option.
 */
export function refuseLocalOptions(command: CommandUnknownOpts): void {
  if (command.opts()["endpoint"] === undefined) return;
  const given = command.options.find((option) =>
    LOCAL.some((name) => name === option.attributeName()) &&
    command.getOptionValueSource(option.attributeName()) === "cli"
  );
  if (given === undefined) return;
  throw new UsageError(
    `Cannot use ${given.long} with --endpoint: it is for a model on this machine`,
  );
}

/**
 * Awaits `work`, and turns its EndpointError into a UsageError: the address or server is at fault.
 */
export async function usable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof EndpointError)) throw error;
    throw new UsageError(error.message, { cause: error });
  }
}
