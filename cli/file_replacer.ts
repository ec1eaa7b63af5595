/** Replaces whole files, even after the program has dropped write access. */

import { basename, dirname, join } from "node:path";
import { replaceFile, replaceThrough, temporaryOf } from "../engine/files/plain_file.ts";
import type { Launch } from "./host.ts";
import { writeFailure } from "./write_failure.ts";

/**
 * Time after which a worker counts as dead, in ms. A write to a slow network disk may take long.
 */
const MOST_WAIT = 60_000;
/** Size limit of an error's text, in bytes. */
const MOST_TEXT = 4096;

/** Outcomes of a request, which the worker writes to the first shared word. */
const DONE = 1, FAILED = 2;

/** A request to the worker. */
interface Request {
  readonly path: string;
  readonly temporary: string;
  readonly content: Uint8Array;
  /** The outcome (int32), the length of the error's text in bytes (int32), and the text (JSON). */
  readonly state: SharedArrayBuffer;
}

const WORKER_SOURCE = `const replaceThrough = ${replaceThrough};
onmessage = ({ data: { path, temporary, content, state } }) => {
  const words = new Int32Array(state, 0, 2);
  let outcome = ${DONE};
  try {
    replaceThrough(path, content, temporary);
  } catch (error) {
    outcome = ${FAILED};
    const text = new TextEncoder().encode(JSON.stringify([error.name, error.message]));
    const length = Math.min(text.length, ${MOST_TEXT});
    new Uint8Array(state, 8).set(text.subarray(0, length));
    words[1] = length;
  }
  Atomics.store(words, 0, outcome);
  Atomics.notify(words, 0);
};`;

/**
 * Returns the replacer for a command that opens a model. It is undefined unless the launcher has
 * enabled permissions for workers.
 */
export function replacerOf(launch: Launch): FileReplacer | undefined {
  return launch.get("workers") === "scoped" ? new FileReplacer({ isolated: true }) : undefined;
}

/**
 * Replaces the accepted files, and no others. An isolated replacer works in a worker, which keeps
 * the permission to write these files while the program drops its own.
 */
export class FileReplacer implements Disposable {
  readonly #isIsolated: boolean;
  readonly #paths: string[] = [];
  #worker: Worker | undefined;

  /**
   * @param options `isolated` requires Deno's `--unstable-worker-options`; without the flag, Deno
   * ends the process.
   */
  constructor({ isolated = false }: { readonly isolated?: boolean } = {}) {
    this.#isIsolated = isolated;
  }

  /**
   * Accepts the file at `path`, which need not exist, and returns its path with links resolved. If
   * the file cannot be replaced, or would lose its owner or another name, returns the reason.
   *
   * @param found the file's status, if it exists
   */
  accept(path: string, found: Deno.FileInfo | undefined): { path: string } | { reason: string } {
    if (/^\/(dev|proc)\//.test(path)) return { reason: "it is a stream of this process" };
    if ((found?.nlink ?? 1) > 1) return { reason: "it has a second name (a hard link)" };
    let target: string;
    try {
      target = found
        ? Deno.realPathSync(path)
        : join(Deno.realPathSync(dirname(path)), basename(path));
      const temporary = temporaryOf(target);
      const file = Deno.openSync(temporary, { write: true, createNew: true });
      try {
        const { uid, gid } = file.statSync();
        if (found && (found.uid !== uid || found.gid !== gid)) {
          return { reason: "it belongs to another user or group" };
        }
      } finally {
        file.close();
        Deno.removeSync(temporary);
      }
    } catch (error) {
      return { reason: `no file can be written beside it: ${writeFailure(error, path)}` };
    }
    this.#paths.push(target);
    return { path: target };
  }

  /** Starts the worker. Call this once all files are accepted, before write access is dropped. */
  start(): void {
    if (!this.#isIsolated || this.#paths.length === 0) return;
    const files = this.#paths.flatMap((path) => [path, temporaryOf(path)]);
    const none = { net: false, env: false, run: false, ffi: false, sys: false, import: false };
    const url = URL.createObjectURL(new Blob([WORKER_SOURCE], { type: "text/javascript" }));
    this.#worker = new Worker(url, {
      type: "module",
      name: "writes the reports",
      deno: { permissions: { ...none, read: files, write: files } },
    });
  }

  /** Replaces the file at `path`, as `accept` returned it. If this fails, the file is unchanged. */
  replace(path: string, content: Uint8Array): void {
    if (!this.#isIsolated) {
      replaceFile(path, content);
      return;
    }
    const state = new SharedArrayBuffer(8 + MOST_TEXT);
    const words = new Int32Array(state, 0, 2);
    const request: Request = { path, temporary: temporaryOf(path), content, state };
    this.#worker?.postMessage(request);
    Atomics.wait(words, 0, 0, MOST_WAIT);
    if (words[0] === DONE) return;
    if (words[0] !== FAILED) throw new Error("the thread that writes it does not answer");
    const text = new TextDecoder().decode(new Uint8Array(state, 8, words[1]).slice());
    const [name, message] = JSON.parse(text) as [string, string];
    const known = Deno.errors as unknown as Readonly<Record<string, ErrorConstructor>>;
    throw new (known[name] ?? Error)(message);
  }

  [Symbol.dispose](): void {
    this.#worker?.terminate();
  }
}
