/** A progress bar, or a spinner if the total is unknown, on its own line. */

/** The screen on which progress is drawn. */
export interface ProgressScreen {
  draw(text: string): void;
  readonly columns: number;
  /** Returns the time in ms. */
  now(): number;
}

/** Work that takes less than this time, in ms, shows no progress. */
const PATIENCE = 500;
/** Time between two frames, in ms. */
const INTERVAL = 100;
const SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";
const CLEAR_LINE = "\r\x1b[K";

/** Progress of one piece of work. Without a screen it does nothing. */
export class Progress implements Disposable {
  readonly #screen: ProgressScreen | undefined;
  readonly #label: string;
  readonly #total: number | undefined;
  readonly #onEnd: () => void;
  readonly #started: number;
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #patience = PATIENCE;
  #lastDrawn = -Infinity;
  /** Units done; while it is undefined, a spinner is shown. */
  #done: number | undefined;
  #detail: () => string = () => "";
  #drawn = false;

  /** @param onEnd called when the progress is disposed of */
  constructor(
    { label, total }: { readonly label: string; readonly total?: number | undefined },
    screen: ProgressScreen | undefined,
    onEnd: () => void = () => {},
  ) {
    this.#onEnd = onEnd;
    this.#label = label;
    this.#total = total;
    this.#screen = screen;
    this.#started = screen?.now() ?? 0;
    // The timer draws while the work awaits something. Work that never waits draws in update().
    if (screen !== undefined) this.#timer = setInterval(() => this.#draw(), INTERVAL);
  }

  /** Shows the progress at once. Use this before long work that may block the timer. */
  announce(): void {
    this.#patience = 0;
    this.#draw();
  }

  /**
   * Updates the line.
   *
   * @param done units of the total that are done; undefined if that is unknown
   * @param detail text after the bar; a function is called for each frame, for text that changes
   * with time
   */
  update(done: number | undefined, detail: string | (() => string) = ""): void {
    this.#done = done;
    this.#detail = typeof detail === "string" ? () => detail : detail;
    this.#draw();
  }

  #draw(): void {
    if (this.#screen === undefined) return;
    const now = this.#screen.now();
    if (now - this.#started < this.#patience) return;
    if (now - this.#lastDrawn < INTERVAL / 2) return;
    this.#lastDrawn = now;
    this.#drawn = true;
    const text = this.#detail();
    const detail = text === "" ? "" : ` ${text}`;
    const picture = this.#total === undefined || this.#done === undefined
      ? SPINNER[Math.floor(now / INTERVAL) % SPINNER.length]!
      : bar(
        this.#done / this.#total,
        Math.min(30, this.#screen.columns - this.#label.length - detail.length - 8),
      );
    const line = `${this.#label} ${picture}${detail}`.trimStart();
    // The line must not wrap, because CLEAR_LINE removes only one line.
    this.#screen.draw(CLEAR_LINE + line.slice(0, this.#screen.columns - 1));
  }

  /** Removes the line until the next frame. */
  hide(): void {
    if (this.#drawn) this.#screen?.draw(CLEAR_LINE);
    this.#drawn = false;
    this.#lastDrawn = -Infinity;
  }

  /** Removes the line. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.hide();
    this.#onEnd();
  }
}

function bar(fraction: number, width: number): string {
  const whole = Math.min(Math.max(fraction, 0), 1);
  const percent = `${Math.floor(100 * whole)}%`.padStart(4);
  if (width < 5) return percent;
  const filled = Math.round(whole * width);
  return `${"█".repeat(filled)}${"░".repeat(width - filled)} ${percent}`;
}
