/** A headless Chromium for tests, by the DevTools protocol: what a page looks like, and how it answers. */

import { join } from "node:path";
import { which } from "./run_tvllm.ts";

/** Where Chromium is, if it is installed. */
export const CHROMIUM = which("chromium");

/** A page in a browser of its own. */
export class BrowserPage implements AsyncDisposable {
  /** What the page said of errors, and asked for beyond itself. */
  readonly complaints: string[] = [];
  readonly #answers = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #waiting = new Map<string, () => void>();
  #calls = 0;

  private constructor(
    readonly process: Deno.ChildProcess,
    readonly socket: WebSocket,
    readonly profile: string,
  ) {
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
  }

  /** Starts a browser and opens a file of the page. */
  static async open(path: string): Promise<BrowserPage> {
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
    const page = new BrowserPage(process, socket, profile);
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await page.call(`${domain}.enable`);
    const loaded = new Promise<void>((resolve) =>
      page.#waiting.set("Page.loadEventFired", resolve)
    );
    await page.call("Page.navigate", { url: `file://${path}` });
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

  /** What an expression gives, as JSON has it. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", {
      expression,
      returnByValue: true,
    }) as { result: { value: T }; exceptionDetails?: { exception: { description: string } } };
    if (exceptionDetails) throw new Error(exceptionDetails.exception.description);
    return result.value;
  }

  /** As on a screen of this size; `dark` as its user wants it. */
  async show(width: number, { dark = false, height = 800 } = {}): Promise<void> {
    const device = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
    await this.call("Emulation.setDeviceMetricsOverride", device);
    await this.call("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }],
    });
  }

  /** Presses a key that types nothing. */
  async press(key: string, code: number): Promise<void> {
    for (const type of ["keyDown", "keyUp"]) {
      await this.call("Input.dispatchKeyEvent", {
        type,
        key,
        code: key,
        windowsVirtualKeyCode: code,
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.call("Browser.close").catch(() => {});
    this.socket.close();
    await this.process.status;
    Deno.removeSync(this.profile, { recursive: true });
  }

  #receive(
    { id, result, error, method, params }: {
      id?: number;
      result?: unknown;
      error?: { message: string };
      method?: string;
      params?: { entry?: { text: string }; request?: { url: string } };
    },
  ): void {
    const answer = this.#answers.get(id ?? 0);
    if (error) answer?.reject(new Error(error.message));
    else answer?.resolve(result);
    this.#waiting.get(method ?? "")?.();
    if (method === "Log.entryAdded") this.complaints.push(params!.entry!.text);
    if (method === "Network.requestWillBeSent" && !params!.request!.url.startsWith("file:")) {
      this.complaints.push(params!.request!.url);
    }
  }
}

/** The port that a browser tells, the rest of what it says read and dropped. */
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

/** A file in a directory of its own. */
export function temporaryFile(name: string, text: string): string {
  const path = join(Deno.makeTempDirSync(), name);
  Deno.writeTextFileSync(path, text);
  return path;
}
