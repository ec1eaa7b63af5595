/**
 * Compares tvllm's greedy tokens with llama.cpp's: `deno task peers [MODEL.gguf…]`, by default on
 * tiny models of every architecture and weight format, and on SmolLM2 and the built-in model.
 *
 * tvllm answers a prompt. llama.cpp then says what it would have chosen in place of each token of
 * that answer, given the tokens before it: until the first difference that is its own greedy
 * answer, and after it the comparison goes on. Prints a table; the exit code is 1 if they disagree.
 */

import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { markdownTable } from "markdown-table";
import { ggufPieces } from "../../engine/files/gguf_writer.ts";
import { syntheticModel, syntheticModelNames } from "../../engine/synthetic/models.ts";
import { GREEDY } from "../../engine/run/runner.ts";
import { ggufBytes, TINY_MODELS, tinyParts, writeTinyModel } from "../../fixtures/tiny_models.ts";
import { loadModel, openGguf } from "../../mod.ts";
import { REAL_MODEL } from "../files/on_disk.ts";
import { installPeer, peerProgram, ROOT } from "./peer.ts";
import type { PeerAnswer, PeerRequest } from "./llama_cpp.ts";

const TEXT = "Once upon a time there was a";
const TOKENS = 48;

/**
 * How much less probable than ours, in nats by our logits, llama.cpp's token may be. For quantized
 * weights its CPU kernels round activations to 8 bits (ggml's vec_dot types Q8_0, Q8_1 and Q8_K),
 * which was seen to move the log-probabilities of the flat, random models by 0.15; ours are float32.
 */
const NEAR = { float: 0.01, quantized: 0.25 };

interface Answer extends PeerRequest {
  /** Matrices are F32, F16 or BF16. */
  readonly float: boolean;
  /** Per token of the answer: by id, how much less probable than it, in nats. */
  readonly gaps: readonly ReadonlyMap<number, number>[];
}

async function answer(path: string): Promise<Answer> {
  const model = await loadModel(openGguf(path), { device: "gpu", contextLength: 256 });
  try {
    const promptIds = model.tokenizer.encode(TEXT);
    const request = { promptIds, sampling: GREEDY, maxTokens: TOKENS, stopIds: [], logprobs: 100 };
    const ids = [...promptIds];
    const gaps: Map<number, number>[] = [];
    for await (const { id, logprobs } of model.engine.submit(request)) {
      ids.push(id);
      const { logprob, top } = logprobs!;
      gaps.push(new Map(top.map((other) => [other.id, logprob - other.logprob])));
    }
    const float = [...model.file.tensors.values()].every(({ type }) => /^B?F\d+$/.test(type));
    return { model: path, text: TEXT, ids, promptLength: promptIds.length, float, gaps };
  } finally {
    await model.close();
  }
}

/** Writes the tiny models and returns their paths. */
function tinyModels(directory: string): string[] {
  const paths = TINY_MODELS.map(([architecture, format]) =>
    writeTinyModel(directory, architecture, format)
  );
  for (const name of syntheticModelNames().filter((name) => name.startsWith("tiny-"))) {
    for (const format of ["F16", "Q4_0", "Q4_K_M"] as const) {
      const { metadata, tensors } = syntheticModel(name, format, 1);
      const path = join(directory, `synth-${name}-${format.toLowerCase()}.gguf`);
      using file = Deno.openSync(path, { write: true, create: true });
      for (const bytes of ggufPieces(metadata, tensors)) {
        for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
      }
      paths.push(path);
    }
  }
  return [...paths, ...scaledRope(directory)];
}

/** Models with both ways in which a file states that RoPE's frequencies are scaled. */
function scaledRope(directory: string): string[] {
  const factors = tinyParts("llama", "F32");
  const byPair = Float32Array.of(1, 1, 1, 2, 4, 8, 32, 32);
  factors.tensors.push({
    name: "rope_freqs.weight",
    type: "F32",
    shape: [byPair.length],
    data: () => [new Uint8Array(byPair.buffer)],
  });
  const linear = tinyParts("llama", "F32");
  linear.metadata.set("llama.rope.scaling.type", { type: "string", value: "linear" });
  linear.metadata.set("llama.rope.scaling.factor", { type: "float32", value: 4 });
  return Object.entries({ factors, linear }).map(([name, parts]) => {
    const path = join(directory, `tiny-llama-f32-rope-${name}.gguf`);
    Deno.writeFileSync(path, ggufBytes(parts));
    return path;
  });
}

async function askPeer(requests: readonly PeerRequest[]): Promise<PeerAnswer[]> {
  const child = new Deno.Command(Deno.execPath(), {
    args: peerProgram("llama_cpp.ts"),
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const input = requests.map((request) => `${JSON.stringify(request)}\n`).join("");
  await new Blob([input]).stream().pipeTo(child.stdin);
  const { code, stdout } = await child.output();
  if (code !== 0) throw new Error(`Cannot compare with llama.cpp: it ended with code ${code}`);
  return new TextDecoder().decode(stdout).trimEnd().split("\n").map((line) => JSON.parse(line));
}

/** A row of the table. */
function compare(ours: Answer, theirs: PeerAnswer): { row: string[]; agree: boolean } {
  const answer = ours.ids.slice(ours.promptLength);
  const different = answer.flatMap((id, at) => id === theirs.greedy[at] ? [] : [at]);
  // Beyond the hundred best it is no near-tie.
  const gaps = different.map((at) => ours.gaps[at]!.get(theirs.greedy[at]!) ?? Infinity);
  const allowed = ours.float ? NEAR.float : NEAR.quantized;
  const sameText = `${theirs.promptIds}` === `${ours.ids.slice(0, ours.promptLength)}`;
  const agree = sameText && gaps.every((gap) => gap <= allowed);
  const row = [
    basename(ours.model, ".gguf"),
    sameText ? "same" : "DIFFERENT",
    `${answer.length - different.length} of ${answer.length}`,
    different.length === 0 ? "" : `${different[0]! + 1}`,
    gaps.map((gap) => gap.toFixed(3)).join(", "),
    agree ? "yes" : "NO",
  ];
  return { row, agree };
}

const directory = Deno.makeTempDirSync({ prefix: "tvllm-peers-" });
try {
  await installPeer();
  const real = [REAL_MODEL, join(ROOT, "fixtures/builtin.gguf")].filter((path) => existsSync(path));
  const paths = Deno.args.length > 0 ? Deno.args : [...tinyModels(directory), ...real];
  const ours: Answer[] = [];
  for (const path of paths) {
    console.error(`Generating with ${basename(path)}`);
    ours.push(await answer(path));
  }
  const theirs = await askPeer(ours);
  const results = ours.map((answer, i) => compare(answer, theirs[i]!));
  const head = ["model", "prompt ids", "equal tokens", "first other", "its gaps, nats", "agree"];
  console.log(markdownTable([head, ...results.map(({ row }) => row)]));
  if (results.some(({ agree }) => !agree)) Deno.exitCode = 1;
} finally {
  Deno.removeSync(directory, { recursive: true });
}
