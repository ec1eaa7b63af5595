/** Controls a headless Chromium with the DevTools protocol, to test how pages look and behave. */

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { which } from "./run_tvllm.ts";

/** Path of Chromium, or undefined if it is not installed. */
export const CHROMIUM = which("chromium");

/** A page in a browser of its own. */
export class BrowserPage implements AsyncDisposable {
  /** Errors of the page, and addresses outside its own origin that it requested. */
  readonly complaints: string[] = [];
  readonly #answers = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #waiting = new Map<string, () => void>();
  #calls = 0;

  private constructor(
    readonly process: Deno.ChildProcess,
    readonly socket: WebSocket,
    /** The browser's profile directory, and the prefix of addresses that the page may request. */
    readonly options: { readonly profile: string; readonly own: string },
  ) {
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
  }

  /** Starts a browser and opens a file, or a page that may send requests to its own server. */
  static async open(address: string): Promise<BrowserPage> {
    const { protocol, origin } = new URL(address);
    const own = protocol === "file:" ? protocol : `${origin}/`;
    const profile = Deno.makeTempDirSync();
    const process = new Deno.Command(CHROMIUM!, {
      args: [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        `--user-data-dir=${profile}`,
        "about:blank",
      ],
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const port = await portOf(process.stderr);
    const [target] = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json();
    const socket = new WebSocket(target.webSocketDebuggerUrl);
    await new Promise((resolve) => socket.onopen = resolve);
    const page = new BrowserPage(process, socket, { profile, own });
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await page.call(`${domain}.enable`);
    const loaded = new Promise<void>((resolve) =>
      page.#waiting.set("Page.loadEventFired", resolve)
    );
    await page.call("Page.navigate", { url: address });
    await loaded;
    return page;
  }

  /** Calls a method of the protocol. */
  call(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const answer = Promise.withResolvers<unknown>();
    this.#answers.set(++this.#calls, answer);
    this.socket.send(JSON.stringify({ id: this.#calls, method, params }));
    return answer.promise;
  }

  /** Evaluates an expression in the page. Returns its value, passed as JSON. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", {
      expression,
      returnByValue: true,
    }) as { result: { value: T }; exceptionDetails?: { exception: { description: string } } };
    if (exceptionDetails) throw new Error(exceptionDetails.exception.description);
    return result.value;
  }

  /** Emulates a screen of this size, whose user prefers dark or light pages. */
  async show(width: number, { dark = false, height = 800 } = {}): Promise<void> {
    const device = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
    await this.call("Emulation.setDeviceMetricsOverride", device);
    await this.call("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }],
    });
  }

  /** Presses a key. `text` is what the key types unless the page prevents it. */
  async press(
    key: string,
    code: number,
    { shift = false, text = "" }: { shift?: boolean; text?: string } = {},
  ): Promise<void> {
    for (const type of ["keyDown", "keyUp"]) {
      await this.call("Input.dispatchKeyEvent", {
        type,
        key,
        code: key,
        windowsVirtualKeyCode: code,
        modifiers: shift ? 8 : 0,
        ...(type === "keyDown" && text !== "" && { text }),
      });
    }
  }

  /** Types into the element that has the focus. */
  async type(text: string): Promise<void> {
    await this.call("Input.insertText", { text });
  }

  /** Clicks the middle of an element. */
  async click(selector: string): Promise<void> {
    const at = await this.evaluate<{ x: number; y: number }>(`(() => {
      const element = document.querySelector(${JSON.stringify(selector)});
      element.scrollIntoView({ block: "center" });
      const { x, y, width, height } = element.getBoundingClientRect();
      return { x: x + width / 2, y: y + height / 2 };
    })()`);
    for (const type of ["mousePressed", "mouseReleased"]) {
      await this.call("Input.dispatchMouseEvent", { type, ...at, button: "left", clickCount: 1 });
    }
  }

  /** Texts whose contrast with the background is below 4.5 to 1, which WCAG 2.2 requires. */
  faintTexts(selector: string): Promise<string[]> {
    return this.evaluate(`(${FAINT})(${JSON.stringify(selector)})`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.call("Browser.close").catch(() => {});
    this.socket.close();
    await this.process.status;
    Deno.removeSync(this.options.profile, { recursive: true });
  }

  #receive(
    { id, result, error, method, params }: {
      id?: number;
      result?: unknown;
      error?: { message: string };
      method?: string;
      params?: {
        entry?: { text: string };
        request?: { url: string };
        exceptionDetails?: { text: string; exception?: { description: string } };
      };
    },
  ): void {
    const answer = this.#answers.get(id ?? 0);
    if (error) answer?.reject(new Error(error.message));
    else answer?.resolve(result);
    this.#waiting.get(method ?? "")?.();
    if (method === "Log.entryAdded") this.complaints.push(params!.entry!.text);
    if (method === "Runtime.exceptionThrown") {
      const { text, exception } = params!.exceptionDetails!;
      this.complaints.push(exception?.description ?? text);
    }
    if (
      method === "Network.requestWillBeSent" && !params!.request!.url.startsWith(this.options.own)
    ) this.complaints.push(params!.request!.url);
  }
}

/** Source of a function of a selector that runs in the page. */
const FAINT = `(selector) => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const c = part / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const { backgroundColor } = getComputedStyle(element);
    return backgroundColor.startsWith("rgb(") ? light(backgroundColor) : behind(element.parentElement);
  };
  return [...document.querySelectorAll(selector)]
    .filter((element) => element.textContent.trim() !== "" && !/^\\d$/.test(element.textContent))
    .map((element) => {
      const style = getComputedStyle(element);
      const own = light(element.closest("svg") ? style.fill : style.color);
      const page = behind(element);
      const ratio = (Math.max(own, page) + 0.05) / (Math.min(own, page) + 0.05);
      return [ratio, element.textContent.slice(0, 40)];
    }).filter(([ratio]) => ratio < 4.5).map(([, text]) => text);
}`;

/** Returns the port that a browser prints. Reads and discards the rest of its output. */
async function portOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  const port = Promise.withResolvers<string>();
  const read = async () => {
    let text = "";
    for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const found = /ws:\/\/127\.0\.0\.1:(\d+)\//.exec(text)?.[1];
      if (found) port.resolve(found);
    }
    port.reject(new Error(`the browser did not start: ${text}`));
  };
  void read();
  return await port.promise;
}

/** Writes a file in a new directory. Returns its address. */
export function temporaryFile(name: string, text: string): string {
  const path = join(Deno.makeTempDirSync(), name);
  Deno.writeTextFileSync(path, text);
  return pathToFileURL(path).href;
}
