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
import { ggufBytes, TINY_MODELS, tinyParts, writeTinyModel } from "../../fixtures/tiny_models.ts";
import { REAL_MODEL } from "../files/on_disk.ts";
import { type Agreement, type Answer, answer, askPeer, compare } from "./agreement.ts";
import { installPeer, ROOT } from "./peer.ts";

const TEXT = "Once upon a time there was a";
const TOKENS = 48;

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

/** A row of the table. */
function rowOf(path: string, { sameText, tokens, different, gaps, agree }: Agreement): string[] {
  return [
    basename(path, ".gguf"),
    sameText ? "same" : "DIFFERENT",
    `${tokens - different.length} of ${tokens}`,
    different.length === 0 ? "" : `${different[0]! + 1}`,
    gaps.map((gap) => gap.toFixed(3)).join(", "),
    agree ? "yes" : "NO",
  ];
}

const directory = Deno.makeTempDirSync({ prefix: "tvllm-peers-" });
try {
  await installPeer();
  const real = [REAL_MODEL, join(ROOT, "fixtures/builtin.gguf")].filter((path) => existsSync(path));
  const paths = Deno.args.length > 0 ? Deno.args : [...tinyModels(directory), ...real];
  const ours: Answer[] = [];
  for (const path of paths) {
    console.error(`Generating with ${basename(path)}`);
    ours.push(await answer(path, { text: TEXT, tokens: TOKENS, device: "gpu" }));
  }
  const theirs = await askPeer(ours);
  const results = ours.map((own, i) => compare(own, theirs[i]!));
  const head = ["model", "prompt ids", "equal tokens", "first other", "its gaps, nats", "agree"];
  console.log(markdownTable([head, ...results.map((result, i) => rowOf(paths[i]!, result))]));
  if (results.some(({ agree }) => !agree)) Deno.exitCode = 1;
} finally {
  Deno.removeSync(directory, { recursive: true });
}
