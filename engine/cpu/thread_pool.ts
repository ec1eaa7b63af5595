/** The threads that go through lists of operations together: the caller's own, and workers. */

import { CONTROL, SLOT, WORK_DONE } from "../../kernels/wasm/dispatch.ts";
import { OPERATION, OPERATION_BYTES } from "../../kernels/wasm/operation.ts";
import { DeviceError } from "../errors.ts";
import type { SharedMemory } from "./memory.ts";
import { WORKER_SOURCE, type WorkerStart } from "./worker.ts";

/** What the module of the kernels exports. */
interface KernelExports {
  work(control: number | bigint, thread: number): number;
}

/** How long workers may take to start. */
const START_MS = 10_000;

/** Bytes that a pool of so many threads has in the shared memory. */
export function controlBytes(threads: number): number {
  return CONTROL.slots + threads * SLOT.bytes;
}

/** Workers that start, which takes them 40 ms, before there is something for them to do. */
export class StartingWorkers {
  readonly #url = URL.createObjectURL(new Blob([WORKER_SOURCE], { type: "text/javascript" }));
  readonly workers: readonly Worker[];

  constructor(count: number) {
    this.workers = Array.from({ length: count }, () => new Worker(this.#url, { type: "module" }));
  }

  /** To be called when all have started. */
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
  /** A list was begun and is not finished. */
  #running = false;
  /** Threads that take units; all others only join. */
  active: number;

  /**
   * Gives `threads − 1` workers the module.
   *
   * @param control address of `controlBytes(threads)` in `memory`
   * @param starting as many workers, if they were started before
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

  /** Waits until all workers listen: to be called before a list is finished. */
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
   * Goes through a list of operations and returns when all of it is done; the last one must join.
   *
   * @throws {DeviceError} "lost" if a thread failed; the pool is of no use afterwards.
   */
  run(operations: number, count: number): void {
    this.begin(operations, count);
    this.finish();
  }

  /**
   * Has the workers begin a list; those that do not listen yet begin when they do. The caller may do
   * something else before it finishes the list.
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
   * Takes part in the list that was begun, if there is one, and returns when all of it is done.
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

  /** Ends all threads but `count`. */
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
    throw failure(messages.find((text) => text !== "") ?? "a thread does not answer");
  }
}

function failure(reason: string, options?: ErrorOptions): DeviceError {
  return new DeviceError(
    "lost",
    `Cannot continue on the CPU: ${reason}; load the model again`,
    options,
  );
}
