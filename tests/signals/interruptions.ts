/** Interrupts the program by a signal at a given moment of some work, and checks what it leaves. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BadHub, content } from "../hub/bad_hub.ts";
import { REAL_MODEL } from "../files/on_disk.ts";
import { baseEnv, LAUNCHER } from "../program/run_tvllm.ts";

const TINY = fileURLToPath(
  new URL("../../fixtures/models/tiny-llama-q8_0.gguf", import.meta.url),
);

/** A run of the program: its directory, and its output so far. */
interface Run {
  readonly directory: string;
  readonly stdout: () => string;
  readonly stderr: () => string;
}

/** Work of the program that is interrupted. */
interface Work {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Whether the work has begun. The time of the signal is counted from then. */
  readonly begun: (run: Run) => boolean;
  /** Called once the work has begun. */
  readonly meanwhile?: (run: Run) => Promise<void>;
  /** Returns what is wrong with the output or files that it left; undefined if nothing is. */
  readonly fault: (run: Run) => string | undefined;
}

/** Prepares work in the given directory. Its disposal ends what the work needs. */
type Kind = (directory: string) => AsyncDisposable & { readonly work: Work };

/** How an interrupted program ended. */
export interface Interrupted {
  readonly code: number;
  /** Time from the signal to the exit. */
  readonly milliseconds: number;
  /**
   * CPU time of all cores in that interval, in steps of 10 ms. It is lower if other programs used
   * the cores. Undefined without Linux's /proc.
   */
  readonly cpuMilliseconds: number | undefined;
  /** Whether the process had exited before the signal was sent. */
  readonly early: boolean;
  readonly fault: string | undefined;
}

const nothing = { [Symbol.asyncDispose]: () => Promise.resolve() };
const noFault = () => undefined;

function whole(path: string): string | undefined {
  try {
    const text = Deno.readTextFileSync(path);
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? undefined : `${path} is half written: ${error}`;
  }
}

/** Returns the paths of all files below a directory, without following links. */
function filesIn(directory: string): string[] {
  return [...Deno.readDirSync(directory)].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesIn(join(directory, name)) : [join(directory, name)]
  );
}

export const KINDS: Readonly<Record<string, Kind>> = {
  load: () => ({
    ...nothing,
    work: {
      args: [
        "generate",
        "-m",
        REAL_MODEL,
        "--device",
        "gpu",
        "--temp",
        "0",
        "--raw",
        "-n",
        "2000",
        "Once upon",
      ],
      begun: () => true,
      fault: noFault,
    },
  }),
  prefill: (directory) => {
    const prompt = join(directory, "prompt.txt");
    Deno.writeTextFileSync(prompt, "The king said to the queen of the hill. ".repeat(300));
    return {
      ...nothing,
      work: {
        args: ["generate", "-m", REAL_MODEL, "--device", "gpu", "-c", "4096", "-v", "-f", prompt],
        begun: ({ stderr }) => stderr().includes("Loaded in"),
        fault: ({ stdout }) => stdout() === "" ? undefined : "it answered before the signal came",
      },
    };
  },
  decode: () => ({
    ...nothing,
    work: {
      args: [
        "generate",
        "-m",
        REAL_MODEL,
        "--device",
        "cpu",
        "-n",
        "2000",
        "--raw",
        "--temp",
        "0",
        "-v",
        "Once upon",
      ],
      begun: ({ stdout }) => stdout() !== "",
      fault: ({ stdout, stderr }) =>
        stdout().includes("\ufffd") || !/tok\/s/.test(stderr())
          ? `no whole answer with statistics: ${stdout().slice(-40)} ${stderr()}`
          : undefined,
    },
  }),
  bench: (directory) => ({
    ...nothing,
    work: {
      // All suites, because then the report is saved often.
      args: ["bench", "all", "-m", TINY, "-r", "100", "--json", join(directory, "report.json")],
      begun: () => true,
      fault: () => whole(join(directory, "report.json")),
    },
  }),
  "bench on a GPU": (directory) => ({
    ...nothing,
    work: {
      args: [
        ...["bench", "latency", "-m", REAL_MODEL, "--device", "gpu", "-r", "100"],
        ...["--json", join(directory, "report.json")],
      ],
      begun: () => true,
      fault: () => whole(join(directory, "report.json")),
    },
  }),
  download: (directory) => {
    const bytes = content(2_000_000);
    const hub = new BadHub({ "tiny-Q8_0.gguf": bytes });
    hub.fault = ({ path }) => path.includes("/resolve/") ? new Response(slowly(bytes)) : undefined;
    const cache = join(directory, "cache");
    return {
      [Symbol.asyncDispose]: () => hub[Symbol.asyncDispose](),
      work: {
        args: ["pull", "hf:org/repo"],
        env: { HF_ENDPOINT: hub.endpoint, TVLLM_CACHE: cache },
        begun: () => hub.downloads.length > 0,
        fault: () => {
          const wrong = filesIn(cache).filter((path) =>
            path.includes("/blobs/") && !path.endsWith(".incomplete") ||
            path.includes("/snapshots/")
          );
          return wrong.length === 0 ? undefined : `left ${wrong}`;
        },
      },
    };
  },
  serve: () => {
    let answer: Promise<string> | undefined;
    const address = ({ stderr }: Run) => /http:\/\/[\d.:]+/.exec(stderr())?.[0];
    return {
      [Symbol.asyncDispose]: async () => void await answer,
      work: {
        args: ["serve", "-m", REAL_MODEL, "--device", "cpu", "--port", "0", "--grace", "0"],
        begun: (run) => address(run) !== undefined,
        meanwhile: async (run) => {
          const body = JSON.stringify({ prompt: "Once", max_tokens: 2000, stream: true });
          const response = await fetch(`${address(run)}/v1/completions`, { method: "POST", body });
          // The response ends normally, or with the connection.
          answer = response.text().catch(String);
        },
        fault: noFault,
      },
    };
  },
};

/** Returns a stream of the bytes in pieces, with pauses between them. */
function slowly(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull: async (controller) => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(at, at += 20_000));
    },
  });
}

/** Sends the signal `milliseconds` after the work has begun. */
export async function interrupt(
  kind: Kind,
  signal: "SIGINT" | "SIGTERM",
  milliseconds: number,
): Promise<Interrupted> {
  const directory = Deno.makeTempDirSync({ prefix: "tvllm-signal-" });
  await using made = kind(directory);
  const { args, env, begun, meanwhile, fault } = made.work;
  const child = new Deno.Command("sh", {
    args: [LAUNCHER, ...args],
    clearEnv: true,
    env: { ...baseEnv(), ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const texts = { stdout: "", stderr: "" };
  const reading = Promise.all((["stdout", "stderr"] as const).map(async (name) => {
    for await (const text of child[name].pipeThrough(new TextDecoderStream())) texts[name] += text;
  }));
  let ended = false;
  const status = child.status.then((status) => {
    ended = true;
    return status;
  });
  const run = { directory, stdout: () => texts.stdout, stderr: () => texts.stderr };
  while (!ended && !begun(run)) await new Promise((resolve) => setTimeout(resolve, 5));
  await meanwhile?.(run);
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  const early = ended;
  const sent = performance.now();
  const before = cpuOf(child.pid);
  if (!early) child.kill(signal);
  let after = before;
  while (!ended) {
    after = cpuOf(child.pid) ?? after;
    await Promise.race([status, new Promise((resolve) => setTimeout(resolve, 20))]);
  }
  const { code } = await status;
  const took = performance.now() - sent;
  const cpu = before !== undefined && after !== undefined ? after - before : undefined;
  await reading;
  const wrong = early ? `it ended before: ${texts.stderr}` : fault(run);
  Deno.removeSync(directory, { recursive: true });
  return { code, milliseconds: took, cpuMilliseconds: cpu, early, fault: wrong };
}

/** Returns a process's CPU time in ms: fields 14 and 15 of proc(5), in hundredths of a second. */
function cpuOf(pid: number): number | undefined {
  try {
    const [, fields] = /\) (.*)/s.exec(Deno.readTextFileSync(`/proc/${pid}/stat`)) ?? [];
    const [user, system] = fields!.split(" ").slice(11, 13).map(Number);
    return 10 * (user! + system!);
  } catch {
    return undefined;
  }
}
