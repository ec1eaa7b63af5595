/** The threads that run lists of operations together: the caller's own thread, and workers. */

import { CONTROL, SLOT, WORK_DONE } from "../../kernels/wasm/dispatch.ts";
import { OPERATION, OPERATION_BYTES } from "../../kernels/wasm/operation.ts";
import { DeviceError } from "../errors.ts";
import type { SharedMemory } from "./memory.ts";
import { WORKER_SOURCE, type WorkerStart } from "./worker.ts";

/** Exports of the kernels' module. */
interface KernelExports {
  work(control: number | bigint, thread: number): number;
}

/** Timeout for the workers to start, in ms. */
const START_MS = 10_000;

/** Bytes that a pool of `threads` threads needs in the shared memory. */
export function controlBytes(threads: number): number {
  return CONTROL.slots + threads * SLOT.bytes;
}

/** Workers that are started before there is work for them, because starting takes 40 ms. */
export class StartingWorkers {
  readonly #url = URL.createObjectURL(new Blob([WORKER_SOURCE], { type: "text/javascript" }));
  readonly workers: readonly Worker[];

  constructor(count: number) {
    this.workers = Array.from({ length: count }, () => new Worker(this.#url, { type: "module" }));
  }

  /** Call this when all workers have started. */
  revoke(): void {
    URL.revokeObjectURL(this.#url);
  }

  terminate(): void {
    this.workers.forEach((worker) => worker.terminate());
    this.revoke();
  }
}

export class ThreadPool {
  readonly #starting: StartingWorkers;
  readonly #workers: Worker[];
  readonly #exports: KernelExports;
  readonly control: number;
  #threads: number;
  #generation = 0;
  /** Whether a list was begun and is not finished. */
  #running = false;
  /** Number of threads that take units. All others only join. */
  active: number;

  /**
   * Sends the module to `threads − 1` workers.
   *
   * @param control address of `controlBytes(threads)` bytes in `memory`
   * @param starting that many workers, if they were started earlier
   */
  constructor(
    readonly memory: SharedMemory,
    module: WebAssembly.Module,
    { control, threads, starting }: {
      readonly control: number;
      readonly threads: number;
      readonly starting?: StartingWorkers;
    },
  ) {
    this.control = control;
    this.#threads = threads;
    this.active = threads;
    const instance = new WebAssembly.Instance(module, { env: { memory: memory.memory } });
    this.#exports = instance.exports as unknown as KernelExports;
    this.#starting = starting ?? new StartingWorkers(threads - 1);
    this.#workers = [...this.#starting.workers];
    this.#workers.forEach((worker, i) => {
      const start: WorkerStart = {
        module,
        memory: memory.memory,
        thread: i + 1,
        control: memory.address(control),
        slot: memory.address(this.#slot(i + 1)),
      };
      worker.postMessage(start);
    });
  }

  get threads(): number {
    return this.#threads;
  }

  /** Waits until all workers have started. Call this before the first list is finished. */
  async ready(): Promise<void> {
    const started = performance.now();
    while (this.#listening() < this.threads - 1) {
      this.#check();
      if (performance.now() - started > START_MS) {
        throw new DeviceError(
          "lost",
          `Cannot start ${this.threads - 1} worker threads: they do not respond`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    this.#starting.revoke();
  }

  /**
   * Runs a list of operations and returns when all of them are done. The last operation must join.
   *
   * @throws {DeviceError} "lost" if a thread failed; the pool is unusable afterwards.
   */
  run(operations: number, count: number): void {
    this.begin(operations, count);
    this.finish();
  }

  /**
   * Makes the workers begin a list. Workers that have not started yet begin it when they start. The
   * caller may do other work before it calls `finish`.
   *
   * @throws {DeviceError} as `run` does.
   */
  begin(operations: number, count: number): void {
    if (count === 0) return;
    this.#check();
    const { words } = this.memory;
    const at = (offset: number) => (this.control + offset) / 4;
    const { threads } = this;
    for (let i = 0; i < count; i++) {
      words[(operations + i * OPERATION_BYTES + OPERATION.next) / 4] = 0;
    }
    words[at(CONTROL.base)] = Atomics.load(words, at(CONTROL.joined));
    words[at(CONTROL.threads)] = threads;
    words[at(CONTROL.active)] = Math.min(this.active, threads);
    words[at(CONTROL.count)] = count;
    this.memory.setAddress(this.control + CONTROL.operations, operations);
    this.#generation = (this.#generation + 1) & 0x7fffffff;
    this.#running = true;
    for (let thread = 1; thread < threads; thread++) this.#wake(thread, this.#generation);
  }

  /**
   * Works on the list that was begun, if there is one, and returns when all of it is done.
   *
   * @throws {DeviceError} as `run` does.
   */
  finish(): void {
    if (!this.#running) return;
    this.#running = false;
    const { words } = this.memory;
    const at = (offset: number) => (this.control + offset) / 4;
    let result: number;
    try {
      result = this.#exports.work(this.memory.address(this.control), 0);
    } catch (cause) {
      Atomics.store(words, at(CONTROL.failed), 1);
      Atomics.notify(words, at(CONTROL.joined));
      throw failure(cause instanceof Error ? cause.message : String(cause), { cause });
    }
    if (result !== WORK_DONE) {
      Atomics.store(words, at(CONTROL.failed), 1);
      this.#check();
    }
  }

  /** Ends all but `count` threads. */
  keep(count: number): void {
    for (let thread = count; thread < this.#threads; thread++) this.#wake(thread, -1);
    this.#workers.splice(count - 1).forEach((worker) => worker.terminate());
    this.#threads = count;
    this.active = count;
    Atomics.store(this.memory.words, (this.control + CONTROL.ready) / 4, count - 1);
  }

  /** Ends the workers. */
  destroy(): void {
    this.keep(1);
    this.#starting.revoke();
  }

  #slot(thread: number): number {
    return this.control + CONTROL.slots + thread * SLOT.bytes;
  }

  #listening(): number {
    return Atomics.load(this.memory.words, (this.control + CONTROL.ready) / 4);
  }

  #wake(thread: number, generation: number): void {
    const { words } = this.memory;
    const slot = this.#slot(thread) / 4;
    Atomics.store(words, slot + SLOT.generation / 4, generation);
    if (Atomics.load(words, slot + SLOT.idle / 4) > 0) {
      Atomics.notify(words, slot + SLOT.generation / 4);
    }
  }

  #check(): void {
    if (Atomics.load(this.memory.words, (this.control + CONTROL.failed) / 4) === 0) return;
    const messages = Array.from({ length: this.threads }, (_, thread) => {
      const at = this.#slot(thread) + SLOT.message;
      const bytes = this.memory.bytes.slice(at, at + SLOT.bytes - SLOT.message);
      return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
    });
    throw failure(messages.find((text) => text !== "") ?? "a thread does not respond");
  }
}

function failure(reason: string, options?: ErrorOptions): DeviceError {
  return new DeviceError(
    "lost",
    `Cannot continue on the CPU: ${reason}; load the model again`,
    options,
  );
}
