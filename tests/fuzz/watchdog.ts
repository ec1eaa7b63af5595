/** Detects a case that never ends, from a thread of its own: a hung thread runs no timers. */

const WORKER = `onmessage = ({ data: { state, seconds } }) => {
  const words = new Int32Array(state);
  let seen = -1;
  setInterval(() => {
    const [cases, reader, seed] = words;
    if (cases === seen && reader >= 0) postMessage({ reader, seed });
    seen = cases;
  }, 1000 * seconds);
}`;

export class Watchdog implements Disposable {
  readonly #state = new SharedArrayBuffer(12);
  readonly #words = new Int32Array(this.#state);
  readonly #worker: Worker;

  /** @param script runs in the thread, with `reader` and `seed`, if no case began for `seconds` */
  constructor(seconds: number, script: string) {
    this.#words[1] = -1;
    const source = WORKER.replace("postMessage({ reader, seed })", script);
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.#worker = new Worker(url, { type: "module" });
    this.#worker.postMessage({ state: this.#state, seconds });
  }

  /** Records the case that begins now. */
  begin(reader: number, seed: number): void {
    this.#words[0]!++;
    this.#words[1] = reader;
    this.#words[2] = seed;
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}
