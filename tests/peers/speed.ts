/**
 * Compares speeds: `deno task bench:peers [--runs N] [--threads N] [--max-tokens N] [--only NAMES]
 * [MODEL.gguf…]`, by default of SmolLM2 and synthetic models. Each engine is a separate process
 * that keeps its model loaded. Their runs are interleaved, so that other load on the machine
 * affects all alike. Prints a markdown table of medians, with the median ratio to the run of the
 * first engine, llama.cpp by default, in the same repetition.
 *
 * With --tests the engines run llama-bench's tests, pp64 and tg64 (--prompt-tokens, --max-tokens):
 * llama.cpp in llama-bench's way, tvllm with `bench speed`.
 */

import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { markdownTable } from "markdown-table";
import { median } from "simple-statistics";
import { ggufPieces } from "../../engine/files/gguf_writer.ts";
import { syntheticModel } from "../../engine/synthetic/models.ts";
import { compareWithGolden, type Golden, readGolden } from "../assert.ts";
import { REAL_MODEL } from "../files/on_disk.ts";
import { installPeer, peerProgram, PEERS } from "./peer.ts";

/** The measurement that a process is asked for. */
export interface SpeedRequest {
  readonly path: string;
  readonly threads: number;
  readonly promptTokens: number;
  readonly maxTokens: number;
  /** Ids of the golden, if the model has one. */
  readonly golden?: readonly number[];
}

/** Tokens per second. */
export interface Run {
  readonly prompt: number;
  readonly decode: number;
}

const SYNTHETIC = [
  ["qwen2.5-0.5b", "Q8_0"],
  ["qwen2.5-0.5b", "Q4_K_M"],
  ["tinyllama-1.1b", "Q4_0"],
] as const;

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    runs: { type: "string", default: "7" },
    threads: { type: "string", default: String(navigator.hardwareConcurrency) },
    "max-tokens": { type: "string", default: "64" },
    "prompt-tokens": { type: "string", default: "64" },
    tests: { type: "boolean", default: false },
    only: { type: "string", default: "llama.cpp CPU,tvllm CPU,tvllm GPU" },
  },
});

/** Writes a model of random weights unless it exists, and returns its path. */
function synthetic(name: string, format: "Q8_0" | "Q4_K_M" | "Q4_0"): string {
  const path = join(PEERS, `${name}-${format}.gguf`);
  if (existsSync(path)) return path;
  console.error(`Making ${basename(path)}`);
  const { metadata, tensors } = syntheticModel(name, format, 1);
  const part = `${path}.part`;
  {
    using file = Deno.openSync(part, { write: true, create: true, truncate: true });
    for (const bytes of ggufPieces(metadata, tensors)) {
      for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    }
  }
  Deno.renameSync(part, path);
  return path;
}

/** A process that answers each line with a line of JSON. */
class Engine {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(readonly name: string, request: SpeedRequest) {
    const own = ["run", "--allow-all", join(import.meta.dirname!, "speed_tvllm.ts")];
    const args = name === "llama.cpp CPU"
      ? peerProgram("speed_llama_cpp.ts")
      : [...own, name === "tvllm CPU" ? "cpu" : "gpu"];
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [...args, JSON.stringify(request)],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  async ask<T>(question: "run" | "tests" | "golden"): Promise<T> {
    await this.#writer.write(new TextEncoder().encode(`${question}\n`));
    // Each piece is searched only once, because a golden's answer has tens of megabytes.
    const pieces = [this.#rest];
    while (!pieces.at(-1)!.includes("\n")) {
      const { value, done } = await this.#reader.read();
      if (done) throw new Error(`Cannot time ${this.name}: it ended`);
      pieces.push(value);
    }
    const last = pieces.pop()!;
    const end = last.indexOf("\n");
    this.#rest = last.slice(end + 1);
    return JSON.parse(pieces.join("") + last.slice(0, end));
  }

  async close(): Promise<void> {
    await this.#writer.close();
    await this.#child.status;
  }
}

function goldenOf(path: string): Golden | undefined {
  return path === REAL_MODEL ? readGolden("smollm2-135m-q4_1") : undefined;
}

/**
 * Returns an engine's mean KL from the reference; its answer may have only the likeliest tokens.
 */
async function klOf(engine: Engine, golden: Golden, vocabSize: number): Promise<number> {
  const positions = await engine.ask<[number, number][][]>("golden");
  const rows = positions.map((tokens) => {
    const row = new Float32Array(vocabSize).fill(-30);
    for (const [id, logprob] of tokens) row[id] = logprob;
    return row;
  });
  return compareWithGolden(golden, rows).meanKl;
}

async function compare(path: string): Promise<string[][]> {
  const golden = goldenOf(path);
  const request: SpeedRequest = {
    path,
    threads: Number(values.threads),
    promptTokens: Number(values["prompt-tokens"]),
    maxTokens: Number(values["max-tokens"]),
    ...(golden && { golden: golden.ids }),
  };
  const engines = values.only.split(",").map((name) => new Engine(name, request));
  const runs = engines.map((): Run[] => []);
  const question = values.tests ? "tests" : "run";
  try {
    // The first runs warm up: code is compiled, caches fill.
    for (const engine of engines) for (let i = 0; i < 3; i++) await engine.ask(question);
    for (let repetition = 0; repetition < Number(values.runs); repetition++) {
      for (const [i, engine] of engines.entries()) runs[i]!.push(await engine.ask(question));
    }
    const rows: string[][] = [];
    for (const [i, { name }] of engines.entries()) {
      const kl = golden ? (await klOf(engines[i]!, golden, 49152)).toExponential(1) : "";
      const figure = (key: keyof Run) => [
        median(runs[i]!.map((run) => run[key])).toFixed(1),
        median(runs[i]!.map((run, repetition) => run[key] / runs[0]![repetition]![key])).toFixed(2),
      ];
      rows.push([basename(path, ".gguf"), name, ...figure("decode"), ...figure("prompt"), kl]);
    }
    return rows;
  } finally {
    for (const engine of engines) await engine.close();
  }
}

if (import.meta.main) {
  await installPeer();
  const paths = positionals.length > 0 ? positionals : [
    ...(existsSync(REAL_MODEL) ? [REAL_MODEL] : []),
    ...SYNTHETIC.map(([name, format]) => synthetic(name, format)),
  ];
  // Ratios are to the first engine.
  const ratio = `÷ ${values.only.split(",")[0]!.replace("llama.cpp CPU", "llama.cpp")}`;
  const head = ["model", "engine", "tg tok/s", ratio, "pp tok/s", ratio, "mean KL"];
  const rows: string[][] = [];
  for (const path of paths) {
    console.error(`Timing ${basename(path)}`);
    rows.push(...await compare(path));
  }
  console.log(markdownTable([head, ...rows]));
}
