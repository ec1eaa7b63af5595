/**
 * Compares `tvllm perplexity --llama` with the same definition applied to llama.cpp's
 * probabilities: `deno task peers:perplexity [MODEL.gguf [TEXT [WINDOW]]]`, by default SmolLM2,
 * docs/tale.txt and 128. The exit code is 1 if they differ by more than 1 %.
 */

import { join } from "node:path";
import { loadModel, openGguf } from "../../mod.ts";
import { REAL_MODEL } from "../files/on_disk.ts";
import type { WindowsAnswer, WindowsRequest } from "./llama_cpp_perplexity.ts";
import { askLines, installPeer, peerProgram, ROOT } from "./peer.ts";

const [path = REAL_MODEL, textPath = join(ROOT, "docs/tale.txt"), length = "128"] = Deno.args;
const window = Number(length);
const text = await Deno.readTextFile(textPath);
await using model = await loadModel(openGguf(path));
const ours = await model.halvesPerplexity(text, { window });

const { bosId, addBos } = model.tokenizer;
const ids = model.tokenize(text, { bos: true });
const windows = Array.from({ length: Math.floor(ids.length / window) }, (_, i) => {
  const own = ids.slice(i * window, (i + 1) * window);
  return addBos ? [bosId!, ...own.slice(1)] : own;
});
await installPeer();
const request: WindowsRequest = { model: path, windows };
const [answer] = await askLines(Deno.execPath(), {
  args: peerProgram("llama_cpp_perplexity.ts"),
  requests: [request],
}) as [WindowsAnswer];
// Entry i belongs to the token after position i. Tokens count from the window's middle on.
const counting = answer.flatMap((own) => own.slice(Math.floor(window / 2)));
const theirs = Math.exp(-counting.reduce((a, b) => a + b, 0) / counting.length);
const difference = ours.perplexity / theirs - 1;
console.log(
  `${ours.windows} windows of ${window}: tvllm ${
    ours.perplexity.toFixed(4)
  } over ${ours.tokens} tokens, ` +
    `llama.cpp ${theirs.toFixed(4)} over ${counting.length}; ${(100 * difference).toFixed(3)} %`,
);
if (!(Math.abs(difference) <= 0.01)) Deno.exitCode = 1;
