/**
 * Compares tvllm's probabilities with those of other engines. `deno task peers:kl [PATTERN]` runs
 * the tiny models whose names match on every backend. GGUF files are compared with llama.cpp,
 * directories of safetensors and MLX with mlx-lm in float32. Prints a table of mean
 * Kullback–Leibler divergences in nats. The exit code is 1 if one is above its limit, or if the
 * other engine fails.
 *
 * Quantized GGUF files have no limit, because llama.cpp's CPU kernels round activations to 8 bits.
 */

import { join } from "node:path";
import { markdownTable } from "markdown-table";
import { loadCpuRunner } from "../../engine/cpu/load_runner.ts";
import { openModelFile } from "../../engine/files/open_model.ts";
import { openGpu } from "../../engine/gpu/device.ts";
import { GpuRunner } from "../../engine/gpu/runner.ts";
import { type ReadModel, readModel } from "../../engine/model/read_model.ts";
import { loadReferenceRunner } from "../../engine/reference/runner.ts";
import { type ModelRunner, MOST_LOGIT_ROWS } from "../../engine/run/runner.ts";
import { TINY_MODELS, writeTinyModel } from "../../fixtures/tiny_models.ts";
import { logSoftmax, readGolden } from "../assert.ts";
import { CHECKPOINTS } from "../model/checkpoints.ts";
import { logitsOf } from "../reference/tiny_runner.ts";
import { askLines, installMlx, installPeer, peerProgram } from "./peer.ts";

const CONTEXT = 256;
const BARS = { "mlx-lm": 1e-5, "llama.cpp": 1e-4 } as const;

/** A model on disk, and the engine to compare with. */
interface Case {
  readonly name: string;
  readonly path: string;
  readonly peer: keyof typeof BARS;
  readonly ids: readonly number[];
}

/** Log-probabilities after each id, or the error. */
type Answer = readonly Float64Array[] | string;

const BACKENDS: Readonly<Record<string, (model: ReadModel) => ModelRunner | Promise<ModelRunner>>> =
  {
    reference: ({ weights, config }) => loadReferenceRunner(weights, config),
    CPU: ({ weights, config }) => loadCpuRunner(weights, config),
    GPU: async ({ weights, config }) =>
      await GpuRunner.load(await openGpu(), { file: weights, config }, { contextLength: CONTEXT }),
  };

function writeCases(directory: string, pattern: RegExp): Case[] {
  const gguf = TINY_MODELS.map(([architecture, format]) => {
    const name = `tiny-${architecture}-${format.toLowerCase()}`;
    const write = () => writeTinyModel(directory, architecture, format);
    return { name, peer: "llama.cpp", write } as const;
  });
  const directories = Object.entries(CHECKPOINTS).map(([name, files]) => {
    const write = () => {
      const path = join(directory, name);
      Deno.mkdirSync(path);
      for (const [file, content] of Object.entries(files)) {
        const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
        Deno.writeFileSync(join(path, file), bytes);
      }
      return path;
    };
    return { name, peer: "mlx-lm", write } as const;
  });
  return [...gguf, ...directories].filter(({ name }) => pattern.test(name))
    .map(({ name, peer, write }) => ({ name, peer, path: write(), ids: readGolden(name).ids }));
}

async function askLlamaCpp(cases: readonly Case[]): Promise<Answer[]> {
  await installPeer();
  const requests = cases.map(({ path, ids }) => ({ model: path, ids }));
  const answers = await askLines(Deno.execPath(), {
    args: peerProgram("llama_cpp_logprobs.ts"),
    requests,
  }) as { error?: string; logprobs?: [number, number][][] }[];
  return answers.map(({ error, logprobs }) =>
    error ?? logprobs!.map((row) => {
      const all = new Float64Array(row.length).fill(-Infinity);
      for (const [id, logprob] of row) all[id] = logprob;
      return all;
    })
  );
}

async function askMlx(cases: readonly Case[], directory: string): Promise<Answer[]> {
  const python = await installMlx();
  const outputs = cases.map((_, i) => join(directory, `mlx-${i}.f32`));
  const requests = cases.map(({ path, ids }, i) => ({ model: path, ids, out: outputs[i]! }));
  const program = join(import.meta.dirname!, "mlx_logits.py");
  const answers = await askLines(python, { args: [program], requests }) as {
    error?: string;
    vocabulary?: number;
  }[];
  return answers.map(({ error, vocabulary }, i) => {
    if (error !== undefined) return error;
    const all = new Float32Array(Deno.readFileSync(outputs[i]!).buffer);
    return cases[i]!.ids.map((_, at) =>
      logSoftmax(all.subarray(at * vocabulary!, (at + 1) * vocabulary!))
    );
  });
}

async function ourAnswer(
  { path, ids }: Case,
  load: (model: ReadModel) => ModelRunner | Promise<ModelRunner>,
): Promise<Float64Array[]> {
  const file = openModelFile(path);
  try {
    const runner = await load(readModel(file));
    const rows = await logitsOf(runner, ids, { chunk: MOST_LOGIT_ROWS });
    runner.destroy();
    return rows.map(logSoftmax);
  } finally {
    file.close();
  }
}

/**
 * Returns the mean over positions of Σ p · ln(p / q), where p is the peer's and q our probability.
 */
function meanKl(theirs: readonly Float64Array[], ours: readonly Float64Array[]): number {
  const sum = theirs.reduce((all, row, at) => {
    return row.reduce((sum, p, id) => {
      return p === -Infinity ? sum : sum + Math.exp(p) * (p - ours[at]![id]!);
    }, all);
  }, 0);
  return sum / theirs.length;
}

const directory = Deno.makeTempDirSync({ prefix: "tvllm-kl-" });
try {
  const cases = writeCases(directory, new RegExp(Deno.args[0] ?? ""));
  const by = (peer: keyof typeof BARS) => cases.filter((one) => one.peer === peer);
  const [gguf, directories] = [by("llama.cpp"), by("mlx-lm")];
  const answers = new Map<Case, Answer>();
  (await askLlamaCpp(gguf)).forEach((answer, i) => answers.set(gguf[i]!, answer));
  (await askMlx(directories, directory)).forEach((answer, i) =>
    answers.set(directories[i]!, answer)
  );
  const rows: string[][] = [];
  for (const one of cases) {
    const theirs = answers.get(one)!;
    const hasBar = one.peer === "mlx-lm" || /-(f32|f16|bf16)$/.test(one.name);
    const row = [one.name, one.peer];
    for (const load of Object.values(BACKENDS)) {
      if (typeof theirs === "string") {
        row.push(theirs.slice(0, 60));
        Deno.exitCode = 1;
        continue;
      }
      const kl = meanKl(theirs, await ourAnswer(one, load));
      const isFar = hasBar && !(kl <= BARS[one.peer]);
      if (isFar) Deno.exitCode = 1;
      row.push(kl.toExponential(1) + (isFar ? " ABOVE" : ""));
    }
    rows.push([...row, hasBar ? String(BARS[one.peer]) : ""]);
  }
  console.log(markdownTable([["model", "against", ...Object.keys(BACKENDS), "bar"], ...rows]));
} finally {
  Deno.removeSync(directory, { recursive: true });
}
