/** Runs `tvllm serve` as a separate process. */

import { ROOT, until } from "./run_tvllm.ts";

/** A running server. */
export interface Served {
  readonly address: string;
  readonly port: number;
  readonly child: Deno.ChildProcess;
  /** The server's output to stderr so far. */
  stderr(): string;
}

/** How tvllm is started. */
interface Program {
  readonly command: string;
  readonly args?: readonly string[];
  readonly env: Record<string, string>;
}

/** Starts `tvllm serve` with the built-in model on a free port, and ends it after `use`. */
export async function withServer(
  { command, args: before = [], env }: Program,
  args: readonly string[],
  use: (served: Served) => Promise<void>,
): Promise<void> {
  const child = new Deno.Command(command, {
    args: [...before, "serve", "--port", "0", "--device", "cpu", "--threads", "1", ...args],
    clearEnv: true,
    env,
    cwd: ROOT,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let stderr = "";
  const reading = (async () => {
    const text = child.stderr.pipeThrough(new TextDecoderStream());
    for await (const piece of text) stderr += piece;
  })();
  try {
    const port = await until(
      () => /Listening on http:\/\/127\.0\.0\.1:(\d+)\//.exec(stderr)?.[1],
      () => `The server does not listen: ${stderr}`,
    );
    const address = `http://127.0.0.1:${port}`;
    await use({ address, port: Number(port), child, stderr: () => stderr });
  } finally {
    try {
      child.kill("SIGKILL");
    } catch {
      // The server has already ended.
    }
    await child.status;
    await reading;
  }
}

export function complete(address: string, body: object): Promise<Response> {
  return fetch(`${address}/v1/completions`, { method: "POST", body: JSON.stringify(body) });
}
