/** Greedy tokens of tvllm beside llama.cpp's, given the same tokens before. */

import { GREEDY } from "../../engine/run/runner.ts";
import { loadModel, openGguf } from "../../mod.ts";
import type { PeerAnswer, PeerRequest } from "./llama_cpp.ts";
import { peerProgram } from "./peer.ts";

/**
 * How much less probable than ours, in nats by our logits, llama.cpp's token may be. For quantized
 * weights its CPU kernels round activations to 8 bits (ggml's vec_dot types Q8_0, Q8_1 and Q8_K),
 * which was seen to move the log-probabilities of the flat, random models by 0.15; ours are float32.
 */
const NEAR = { float: 0.01, quantized: 0.25 };

/** A text of ours, for the other program. */
export interface Answer extends PeerRequest {
  /** Matrices are F32, F16 or BF16. */
  readonly float: boolean;
  /** Per token of the answer: by id, how much less probable than it, in nats. */
  readonly gaps: readonly ReadonlyMap<number, number>[];
}

/** Our answer to the text. */
export async function answer(
  path: string,
  { text, tokens, device }: {
    readonly text: string;
    readonly tokens: number;
    readonly device: "gpu" | "cpu";
  },
): Promise<Answer> {
  const model = await loadModel(openGguf(path), {
    device,
    contextLength: 256,
    ...(device === "cpu" && { threads: 1 }),
  });
  try {
    const promptIds = model.tokenizer.encode(text);
    const request = { promptIds, sampling: GREEDY, maxTokens: tokens, stopIds: [], logprobs: 100 };
    const ids = [...promptIds];
    const gaps: Map<number, number>[] = [];
    for await (const { id, logprobs } of model.engine.submit(request)) {
      ids.push(id);
      const { logprob, top } = logprobs!;
      gaps.push(new Map(top.map((other) => [other.id, logprob - other.logprob])));
    }
    const float = [...model.file.tensors.values()].every(({ type }) => /^B?F\d+$/.test(type));
    return { model: path, text, ids, promptLength: promptIds.length, float, gaps };
  } finally {
    await model.close();
  }
}

/** How long llama.cpp may take for a text, loading included. */
const MOST_WAIT_MS = 60_000;

/**
 * What llama.cpp makes of the texts. One that ends it, by an assertion that fails, has that for an
 * answer, and it is started anew for those that follow.
 */
export async function askPeer(requests: readonly PeerRequest[]): Promise<PeerAnswer[]> {
  const answers: PeerAnswer[] = [];
  while (answers.length < requests.length) {
    answers.push(...await askOnce(requests.slice(answers.length)));
    if (answers.length < requests.length) answers.push({ error: "it crashed or hung" });
  }
  return answers;
}

async function askOnce(requests: readonly PeerRequest[]): Promise<PeerAnswer[]> {
  const child = new Deno.Command(Deno.execPath(), {
    args: peerProgram("llama_cpp.ts"),
    // It would print a debugger's words among the answers.
    env: { GGML_NO_BACKTRACE: "1" },
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const input = requests.map((request) => `${JSON.stringify(request)}\n`).join("");
  const written = new Blob([input]).stream().pipeTo(child.stdin).catch(() => {});
  const answers: PeerAnswer[] = [];
  let late: ReturnType<typeof setTimeout> | undefined;
  const wait = () => {
    clearTimeout(late);
    late = setTimeout(() => child.kill("SIGKILL"), MOST_WAIT_MS);
  };
  wait();
  const lines = child.stdout.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream());
  for await (const line of lines) {
    wait();
    if (line.startsWith("{")) answers.push(JSON.parse(line));
  }
  clearTimeout(late);
  await Promise.all([written, child.status]);
  return answers;
}

/** Text in lines. */
class TextLineStream extends TransformStream<string, string> {
  constructor() {
    let rest = "";
    super({
      transform: (text, controller) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop()!;
        for (const line of lines) controller.enqueue(line);
      },
    });
  }
}

/** How far two answers agree. */
export interface Agreement {
  /** Of the prompt, the same ids. */
  readonly sameText: boolean;
  readonly tokens: number;
  /** Places of the answer where llama.cpp has another token. */
  readonly different: readonly number[];
  /** How much less probable those are, in nats. */
  readonly gaps: readonly number[];
  /** The same ids of the prompt, and no others in the answer but near-ties. */
  readonly agree: boolean;
}

export function compare(ours: Answer, theirs: PeerAnswer): Agreement {
  if ("error" in theirs) throw new Error(`Cannot compare with llama.cpp: ${theirs.error}`);
  const answer = ours.ids.slice(ours.promptLength);
  const different = answer.flatMap((id, at) => id === theirs.greedy[at] ? [] : [at]);
  // Beyond the hundred best it is no near-tie.
  const gaps = different.map((at) => ours.gaps[at]!.get(theirs.greedy[at]!) ?? Infinity);
  const allowed = ours.float ? NEAR.float : NEAR.quantized;
  const sameText = `${theirs.promptIds}` === `${ours.ids.slice(0, ours.promptLength)}`;
  const agree = sameText && gaps.every((gap) => gap <= allowed);
  return { sameText, tokens: answer.length, different, gaps, agree };
}
