/** Replaces whole files, also after the program has dropped write access. */

import { basename, dirname, join } from "node:path";
import { replaceFile, replaceThrough, temporaryOf } from "../engine/files/plain_file.ts";
import type { Launch } from "./host.ts";
import { writeFailure } from "./write_failure.ts";

/** Milliseconds after which a worker counts as dead; a write to a slow network disk may take long. */
const MOST_WAIT = 60_000;
/** Bytes of an error's text. */
const MOST_TEXT = 4096;

/** What a worker did with a request, in the first of the words that it shares. */
const DONE = 1, FAILED = 2;

/** A request to the worker. */
interface Request {
  readonly path: string;
  readonly temporary: string;
  readonly content: Uint8Array;
  /** The outcome, the length of the error's text, and its bytes. */
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

/** For a command that opens a model: undefined unless the launcher says that a worker may have own permissions. */
export function replacerOf(launch: Launch): FileReplacer | undefined {
  return launch.get("workers") === "scoped" ? new FileReplacer({ isolated: true }) : undefined;
}

/**
 * Replaces the files that were accepted, and no others. An isolated one does so in a worker that keeps
 * the permission to write these files while the program drops its own.
 */
export class FileReplacer implements Disposable {
  readonly #isIsolated: boolean;
  readonly #paths: string[] = [];
  #worker: Worker | undefined;

  /** @param options `isolated`: needs Deno's `--unstable-worker-options`, else Deno ends the process */
  constructor({ isolated = false }: { readonly isolated?: boolean } = {}) {
    this.#isIsolated = isolated;
  }

  /**
   * Adds the file that `path` leads to, which exists or not; returns its own path. If it cannot be
   * replaced without changing what else it is, returns why not.
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
      return { reason: `no file can be written beside it: ${writeFailure(error)}` };
    }
    this.#paths.push(target);
    return { path: target };
  }

  /** To be called when all files are accepted, and before write access is dropped. */
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

  /** Replaces a file by its own path; after an error it is as it was. */
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
