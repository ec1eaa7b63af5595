/**
 * The program of a worker. It is text, because a bundle has no separate file for a worker to load.
 */

import { CONTROL, SLOT } from "../../kernels/wasm/dispatch.ts";

/** The only message that a worker receives. */
export interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** Index of the thread, from 1 on. */
  readonly thread: number;
  /** Addresses of CONTROL and of the thread's SLOT. */
  readonly control: number | bigint;
  readonly slot: number | bigint;
}

/**
 * Runs the list of operations each time its slot has a new generation, until the generation is
 * negative. If the worker fails, it writes the error to its slot and ends.
 */
export const WORKER_SOURCE = `
onmessage = ({ data: { module, memory, thread, control, slot } }) => {
  const words = new Int32Array(memory.buffer);
  const controlAt = Number(control) / 4, slotAt = Number(slot);
  try {
    const { work, idle } = new WebAssembly.Instance(module, { env: { memory } }).exports;
    let seen = 0; // A list may have been started already.
    Atomics.add(words, controlAt + ${CONTROL.ready / 4}, 1);
    while ((seen = idle(slot, seen)) >= 0) work(control, thread);
  } catch (error) {
    const text = new TextEncoder().encode(String(error)).slice(0, ${SLOT.bytes - SLOT.message - 1});
    new Uint8Array(memory.buffer).set(text, slotAt + ${SLOT.message});
    Atomics.store(words, controlAt + ${CONTROL.failed / 4}, 1);
    Atomics.notify(words, controlAt + ${CONTROL.joined / 4});
  }
  close();
};
`;
