/** Compares greedy tokens of tvllm with llama.cpp's, given the same preceding tokens. */

import { GREEDY } from "../../engine/run/runner.ts";
import { loadModel, openGguf } from "../../mod.ts";
import type { PeerAnswer, PeerRequest } from "./llama_cpp.ts";
import { peerProgram } from "./peer.ts";

/**
 * How much less probable than our token, in nats according to our logits, llama.cpp's token may be.
 * For quantized weights its CPU kernels round activations to 8 bits (ggml's vec_dot types Q8_0,
 * Q8_1 and Q8_K), which was seen to change the log-probabilities of the flat, random models by
 * 0.15. Our activations are float32.
 */
const NEAR = { float: 0.01, quantized: 0.25 };

/** Our answer to a text, as a request for the other program. */
export interface Answer extends PeerRequest {
  /** Whether all tensors are F32, F16 or BF16. */
  readonly float: boolean;
  /** For each token of the answer: how much less probable other tokens are, in nats, by id. */
  readonly gaps: readonly ReadonlyMap<number, number>[];
}

/** Generates our answer to the text. */
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

/** Maximum time for one answer of llama.cpp, including loading. */
const MOST_WAIT_MS = 60_000;

/**
 * Asks llama.cpp about the texts. If a text crashes it, for example by a failed assertion, the
 * answer to that text is an error, and llama.cpp is started again for the texts after it.
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
    // Without this it would print a debugger's output among the answers.
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

/** Splits text into lines, and drops an incomplete last line. */
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

/** The agreement of two answers. */
export interface Agreement {
  /** Whether the ids of the prompt are equal. */
  readonly sameText: boolean;
  readonly tokens: number;
  /** Positions of the answer at which llama.cpp chooses another token. */
  readonly different: readonly number[];
  /** How much less probable those other tokens are, in nats. */
  readonly gaps: readonly number[];
  /** Whether the ids of the prompt are equal, and those of the answer differ only in near-ties. */
  readonly agree: boolean;
}

export function compare(ours: Answer, theirs: PeerAnswer): Agreement {
  if ("error" in theirs) throw new Error(`Cannot compare with llama.cpp: ${theirs.error}`);
  const answer = ours.ids.slice(ours.promptLength);
  const different = answer.flatMap((id, at) => id === theirs.greedy[at] ? [] : [at]);
  // A token that is not among the 100 most probable is no near-tie.
  const gaps = different.map((at) => ours.gaps[at]!.get(theirs.greedy[at]!) ?? Infinity);
  const allowed = ours.float ? NEAR.float : NEAR.quantized;
  const sameText = `${theirs.promptIds}` === `${ours.ids.slice(0, ours.promptLength)}`;
  const agree = sameText && gaps.every((gap) => gap <= allowed);
  return { sameText, tokens: answer.length, different, gaps, agree };
}
