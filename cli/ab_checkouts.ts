/**
 * The sides of `bench ab --against`: two checkouts, each measured by its own code in its own
 * process.
 */

import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { randomPrompt } from "../bench/harness/prompts.ts";
import type { Environment, RunOptions } from "../bench/report/report.ts";
import { modelFacts } from "../bench/targets/environment.ts";
import type { Program } from "../bench/targets/environment.ts";
import type { Served } from "../bench/targets/target.ts";
import { openModelFile } from "../engine/files/open_model.ts";
import { readModel } from "../engine/model/read_model.ts";
import type {
  WorkerFailed,
  WorkerReady,
  WorkerRequest,
  WorkerServed,
  WorkerStart,
} from "./ab_worker.ts";
import { checkLength, type Side } from "./ab_sides.ts";
import { checkoutCommit } from "./commit.ts";
import { UsageError } from "./exit_codes.ts";
import { readText } from "./host.ts";
import type { HashCache } from "./model_hash.ts";
import { modelPath } from "./model_argument.ts";
import type { EngineValues } from "./open_engine.ts";
import { dropBeforeModel, dropRun } from "./permissions.ts";
import type { Terminal } from "./terminal.ts";

const OWN = fileURLToPath(new URL("..", import.meta.url));
const WORKER = fileURLToPath(new URL("ab_worker.ts", import.meta.url));
const BUILTIN = fileURLToPath(new URL("../fixtures/builtin.gguf", import.meta.url));

/** A checkout to measure, and the options of its engine. */
export interface CheckoutSide {
  readonly name: string;
  readonly directory: string;
  readonly values: EngineValues;
}

/** The environment that both sides share. */
export interface CheckoutContext {
  readonly run: RunOptions;
  readonly host: Program["host"];
  readonly hashes: HashCache;
  readonly terminal: Terminal;
  /** Kills the processes when it is aborted. */
  readonly signal: AbortSignal;
  /** The path of Deno for which permission to run it was granted. */
  readonly deno: string;
}

/**
 * Returns this checkout's directory.
 *
 * @throws {UsageError} if this tvllm has another form, such as the npm package.
 */
export function ownCheckout(): string {
  // A bundle may lie in a checkout, but it does not contain the worker.
  if (isCheckout(OWN) && readText(WORKER) !== "") return OWN;
  throw new UsageError(
    "Cannot use --against: this tvllm is not a checkout; start the tvllm of a checkout",
  );
}

/**
 * Returns the absolute path of `directory`.
 *
 * @throws {UsageError} if it is not a checkout.
 */
export function checkoutAt(directory: string): string {
  const path = resolve(directory);
  if (isCheckout(path)) return path;
  throw new UsageError(
    `Cannot compare with ${directory}: it is not a checkout of tvllm (it has no mod.ts and deno.json)`,
  );
}

function isCheckout(path: string): boolean {
  return ["mod.ts", "deno.json"].every((name) => readText(join(path, name)) !== "");
}

/**
 * Starts a process for each side. After that it drops the permissions to start programs, to use the
 * network and to write files.
 */
export async function openCheckouts(
  given: readonly CheckoutSide[],
  context: CheckoutContext,
): Promise<Side[]> {
  const models: string[] = [];
  for (const { values } of given) {
    models.push(
      values.model === undefined ? BUILTIN : await modelPath(values.model, context.terminal),
    );
  }
  const workers: Worker[] = [];
  try {
    for (const [i, { directory, values }] of given.entries()) {
      workers.push(new Worker(context, { directory, model: models[i]!, values }));
    }
    dropRun();
    dropBeforeModel();
    const sides: Side[] = [];
    for (const [i, side] of given.entries()) {
      sides.push(await sideOf({ ...side, worker: workers[i]!, model: models[i]! }, context));
    }
    return sides;
  } catch (error) {
    for (const worker of workers) await worker.close();
    throw error;
  }
}

async function sideOf(
  { name, directory, values, worker, model }: CheckoutSide & {
    readonly worker: Worker;
    readonly model: string;
  },
  { run, host, hashes }: CheckoutContext,
): Promise<Side> {
  const ready = await worker.read() as WorkerReady;
  checkLength(run, ready.contextLength);
  const environment = await environmentOf({ directory, model, ready, values }, host, hashes);
  const { promptTokens, maxTokens, seed } = run;
  const promptIds = randomPrompt(environment.model.vocabSize, { tokens: promptTokens, seed });
  return {
    name,
    environment,
    serve: async (): Promise<Served> => {
      await worker.write({ promptIds, maxTokens });
      return await worker.read() as WorkerServed;
    },
    close: () => worker.close(),
  };
}

async function environmentOf(
  { directory, model, ready, values }: {
    readonly directory: string;
    readonly model: string;
    readonly ready: WorkerReady;
    readonly values: EngineValues;
  },
  host: Program["host"],
  hashes: HashCache,
): Promise<Environment> {
  const { device: { kind, description, driver, detail }, fallback, contextLength, deno } = ready;
  const file = openModelFile(model);
  try {
    const facts = modelFacts({ file, config: readModel(file).config });
    const threads = Number(/^(\d+) thread/.exec(detail ?? "")?.[1] ?? host.cores);
    return {
      host: { ...host, threads },
      device: {
        description,
        vendor: "",
        architecture: "",
        kind,
        driver,
        ...(fallback !== undefined && { reason: fallback }),
        api: kind === "cpu" ? "none" : "unknown",
        driverVersion: kind === "cpu" ? "none" : "unknown",
      },
      model: {
        ...facts,
        sha256: await hashes.hashOf(file, undefined),
        deviceBytes: facts.tensorBytes,
        contextLength,
      },
      engine: {
        tvllm: String(JSON.parse(readText(join(directory, "deno.json"))).version ?? "unknown"),
        commit: checkoutCommit(directory),
        deno,
        kernels: detail ?? driver,
        kvType: values.kvType,
      },
    };
  } finally {
    file.close();
  }
}

/** A process that measures one checkout. */
class Worker {
  readonly #process: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;
  readonly #signal: AbortSignal;
  readonly #kill = () => {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // The process has already exited: Ctrl-C in a terminal reaches all its processes.
    }
  };

  readonly directory: string;

  constructor(
    { deno, signal }: Pick<CheckoutContext, "deno" | "signal">,
    { directory, model, values }: Omit<CheckoutSide, "name"> & { readonly model: string },
  ) {
    this.directory = directory;
    const { device, threads, ctxSize, kvMemory, kvType } = values;
    const start: WorkerStart = {
      library: pathToFileURL(join(directory, "mod.ts")).href,
      model: resolve(model),
      options: {
        ...(device && { device }),
        ...(threads !== undefined && { threads }),
        ...(ctxSize !== undefined && { contextLength: ctxSize }),
        ...(kvMemory !== undefined && { kvMemory }),
        kv: kvType,
        maxSequences: 1,
      },
    };
    const lock = join(directory, "cli", "deno.lock");
    this.#process = new Deno.Command(deno, {
      args: [
        "run",
        `--config=${join(directory, "deno.json")}`,
        // --frozen keeps Deno from writing to the lock file.
        ...(readText(lock) === "" ? ["--no-lock"] : [`--lock=${lock}`, "--frozen"]),
        "--quiet",
        "--no-check",
        "--no-prompt",
        "--allow-read",
        "--ignore-env",
        "--allow-env=XDG_RUNTIME_DIR", // so that libwayland prints no errors (engine/gpu/device.ts)
        WORKER,
        JSON.stringify(start),
      ],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#writer = this.#process.stdin.getWriter();
    this.#lines = linesOf(this.#process.stdout);
    this.#signal = signal;
    signal.addEventListener("abort", this.#kill);
  }

  async write(request: WorkerRequest): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
  }

  /**
   * Reads the next line of the process.
   *
   * @throws {Error} if the process failed or exited; after an abort, the reason of `signal`.
   */
  async read(): Promise<WorkerReady | WorkerServed> {
    const { value, done } = await this.#lines.next();
    if (done) this.#signal.throwIfAborted();
    const said = done ? { error: "its process exited" } : JSON.parse(value);
    if (!("error" in said)) return said as WorkerReady | WorkerServed;
    throw new Error(`Cannot measure ${this.directory}: ${(said as WorkerFailed).error}`);
  }

  async close(): Promise<void> {
    // The process exits at the end of its standard input.
    await this.#writer.close().catch(() => {});
    await this.#process.status;
    this.#signal.removeEventListener("abort", this.#kill);
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let text = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end; (end = text.indexOf("\n")) >= 0; text = text.slice(end + 1)) {
      yield text.slice(0, end);
    }
  }
}
