/**
 * A semaphore: limits the number of simultaneous users, who get slots in the order of their calls.
 */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param count the number of slots; may be infinite */
  constructor(count: number) {
    this.#free = count;
  }

  /** Waits for a slot. Disposing of the result releases it. */
  async take(): Promise<Disposable> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return {
      [Symbol.dispose]: () => {
        const next = this.#waiting.shift();
        if (next) next();
        else this.#free++;
      },
    };
  }
}
