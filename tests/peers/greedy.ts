/**
 * Compares tvllm's greedy tokens with llama.cpp's: `deno task peers [MODEL.gguf… | PATTERN]`. By
 * default it runs tiny models of every architecture and weight format, SmolLM2 and the built-in
 * model; with a pattern, the tiny models whose names match.
 *
 * tvllm answers a prompt. For each token of that answer, llama.cpp then returns the token that it
 * would have chosen, given the tokens before it. Up to the first difference, these tokens are
 * llama.cpp's own greedy answer. The comparison continues after it. Prints a table. The exit code
 * is 1 if the programs disagree.
 *
 * For quantized weights llama.cpp rounds activations to 8 bits. If it then disagrees about a tiny
 * model, it gets the same weights in float32, for which it does not round activations. If it agrees
 * about these within the limit for floats, the rounding is the only difference.
 */

import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { markdownTable } from "markdown-table";
import type { GgufTensorData } from "../../engine/files/gguf_writer.ts";
import { syntheticModel, syntheticModelNames } from "../../engine/synthetic/models.ts";
import { ggufBytes, type GgufParts, TINY_MODELS, tinyParts } from "../../fixtures/tiny_models.ts";
import { dequantize } from "../../kernels/dequantize.ts";
import { REAL_MODEL } from "../files/on_disk.ts";
import { type Agreement, type Answer, answer, askPeer, compare } from "./agreement.ts";
import { installPeer, ROOT } from "./peer.ts";

const TEXT = "Once upon a time there was a";
const TOKENS = 48;

/** A model on disk, and its parts if it was written by this program. */
interface Model {
  readonly path: string;
  readonly parts?: GgufParts;
}

/** Writes the tiny models whose names match. */
function tinyModels(directory: string, pattern: RegExp): Model[] {
  const tiny = TINY_MODELS.map(([architecture, format]) =>
    [`tiny-${architecture}-${format.toLowerCase()}`, tinyParts(architecture, format)] as const
  );
  const synthetic = syntheticModelNames().filter((name) => name.startsWith("tiny-"))
    .flatMap((name) =>
      (["F16", "Q4_0", "Q4_K_M"] as const).map((format) => {
        const { metadata, tensors } = syntheticModel(name, format, 1);
        const parts = { metadata: new Map(metadata), tensors: [...tensors] };
        return [`synth-${name}-${format.toLowerCase()}`, parts] as const;
      })
    );
  return [...tiny, ...synthetic, ...scaledRope()].filter(([name]) => pattern.test(name))
    .map(([name, parts]) => written(directory, name, parts));
}

function written(directory: string, name: string, parts: GgufParts): Model {
  const path = join(directory, `${name}.gguf`);
  Deno.writeFileSync(path, ggufBytes(parts));
  return { path, parts };
}

/** Returns the same model with its weights in float32. */
function inFloats({ metadata, tensors }: GgufParts): GgufParts {
  const floats = (tensor: GgufTensorData): GgufTensorData => ({
    ...tensor,
    type: "F32",
    *data() {
      const bytes = Uint8Array.from([...tensor.data()].flatMap((piece) => [...piece]));
      const values = new Float32Array(tensor.shape.reduce((a, b) => a * b, 1));
      dequantize(tensor.type, bytes, values);
      yield new Uint8Array(values.buffer);
    },
  });
  return { metadata, tensors: tensors.map(floats) };
}

/** Returns two models with scaled RoPE frequencies: by a tensor of factors, and by metadata. */
function scaledRope(): (readonly [string, GgufParts])[] {
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
  return Object.entries({ factors, linear }).map(([name, parts]) =>
    [`tiny-llama-f32-rope-${name}`, parts] as const
  );
}

/** Returns a row of the table. `rounded` is the agreement with weights in float32, if compared. */
function rowOf(
  path: string,
  { sameText, tokens, different, gaps, agree }: Agreement,
  rounded: Agreement | undefined,
): string[] {
  const inFloat = rounded && `${tokens - rounded.different.length} of ${tokens}`;
  return [
    basename(path, ".gguf"),
    sameText ? "same" : "DIFFERENT",
    `${tokens - different.length} of ${tokens}`,
    different.length === 0 ? "" : `${different[0]! + 1}`,
    gaps.map((gap) => gap.toFixed(3)).join(", "),
    agree ? "yes" : rounded?.agree ? `in float32: ${inFloat}` : "NO",
  ];
}

/** Compares again with float32 weights, for quantized models about which llama.cpp disagrees. */
async function askInFloats(
  directory: string,
  disagreed: readonly { readonly own: Answer; readonly parts: GgufParts }[],
): Promise<Map<Answer, Agreement>> {
  const floats = disagreed.map(({ own, parts }): Answer => {
    const name = `${basename(own.model, ".gguf")}-as-f32`;
    return { ...own, model: written(directory, name, inFloats(parts)).path, float: true };
  });
  const theirs = await askPeer(floats);
  return new Map(disagreed.map(({ own }, i) => [own, compare(floats[i]!, theirs[i]!)]));
}

const directory = Deno.makeTempDirSync({ prefix: "tvllm-peers-" });
try {
  await installPeer();
  const real = [REAL_MODEL, join(ROOT, "fixtures/builtin.gguf")].filter((path) => existsSync(path));
  const files = Deno.args.filter((argument) => argument.endsWith(".gguf"));
  const [pattern] = Deno.args.filter((argument) => !argument.endsWith(".gguf"));
  const tiny = files.length > 0 ? [] : tinyModels(directory, new RegExp(pattern ?? ""));
  const others = Deno.args.length > 0 ? files : real;
  const models: Model[] = [...tiny, ...others.map((path) => ({ path }))];
  const ours: Answer[] = [];
  for (const { path } of models) {
    console.error(`Generating with ${basename(path)}`);
    ours.push(await answer(path, { text: TEXT, tokens: TOKENS, device: "gpu" }));
  }
  const theirs = await askPeer(ours);
  const results = ours.map((own, i) => compare(own, theirs[i]!));
  const disagreed = results.flatMap(({ agree }, i) => {
    const { parts } = models[i]!;
    return agree || parts === undefined || ours[i]!.float ? [] : [{ own: ours[i]!, parts }];
  });
  const rounded = await askInFloats(directory, disagreed);
  const head = ["model", "prompt ids", "equal tokens", "first difference", "gaps (nats)", "agree"];
  const rows = results.map((result, i) => rowOf(models[i]!.path, result, rounded.get(ours[i]!)));
  console.log(markdownTable([head, ...rows]));
  const isWrong = ({ agree }: Agreement, i: number) => !agree && !rounded.get(ours[i]!)?.agree;
  if (results.some(isWrong)) Deno.exitCode = 1;
} finally {
  Deno.removeSync(directory, { recursive: true });
}
