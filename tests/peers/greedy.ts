/**
 * Compares tvllm's greedy tokens with llama.cpp's: `deno task peers [MODEL.gguf… | PATTERN]`, by default
 * on tiny models of every architecture and weight format, and on SmolLM2 and the built-in model; with a
 * pattern, on the tiny models whose names match.
 *
 * tvllm answers a prompt. llama.cpp then says what it would have chosen in place of each token of
 * that answer, given the tokens before it: until the first difference that is its own greedy
 * answer, and after it the comparison goes on. Prints a table; the exit code is 1 if they disagree.
 *
 * For quantized weights llama.cpp rounds activations to 8 bits. Where it then disagrees about a tiny
 * model, it is asked again of the same weights in float32, for which it rounds none: that it agrees
 * about those to the bar of floats shows that the rounding is all that differs.
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

/** A model on disk; of those made here, what it is written from. */
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

/** The same weights in float32. */
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

/** Models with both ways in which a file states that RoPE's frequencies are scaled. */
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

/** A row of the table; `rounded`: what they make of the same weights in float32, if it was asked. */
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

/** What llama.cpp makes of the same weights in float32, of models made here about which it disagrees. */
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
  const head = ["model", "prompt ids", "equal tokens", "first other", "its gaps, nats", "agree"];
  const rows = results.map((result, i) => rowOf(models[i]!.path, result, rounded.get(ours[i]!)));
  console.log(markdownTable([head, ...rows]));
  const isWrong = ({ agree }: Agreement, i: number) => !agree && !rounded.get(ours[i]!)?.agree;
  if (results.some(isWrong)) Deno.exitCode = 1;
} finally {
  Deno.removeSync(directory, { recursive: true });
}
