/**
 * Readers of streams that work as two load generators do, so that their counts equal those of the
 * load generators. For the sources see client_forms_test.ts.
 */

import assert from "node:assert/strict";

// deno-lint-ignore no-explicit-any -- bodies as clients see them
type Body = any;

/** What a client records of one answer. */
export interface Reading {
  text: string;
  /** Number of chunks that the client counts as tokens. */
  iterations: number;
  usage: Body;
  id: string | undefined;
  finish: string | undefined;
}

const nothing = (): Reading => ({
  text: "",
  iterations: 0,
  usage: undefined,
  id: undefined,
  finish: undefined,
});

function assertStream({ status, headers }: Response): void {
  assert.equal(status, 200);
  assert.match(headers.get("content-type")!, /^text\/event-stream/);
}

/**
 * Yields the messages of a body as vLLM splits them. vLLM strips each piece, which can remove the
 * blank line after a message, so complete JSON at the end of a piece also ends a message.
 */
async function* vllmMessages(response: Response): AsyncGenerator<string> {
  let rest = "";
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
    rest += piece.trim();
    const messages = rest.split("\n\n");
    rest = messages.pop()!;
    if (isWhole(rest)) {
      messages.push(rest);
      rest = "";
    }
    yield* messages;
  }
  assert.equal(rest, "");
}

function isWhole(message: string): boolean {
  const data = message.replace(/^data: /, "");
  if (data === "[DONE]") return true;
  try {
    JSON.parse(data);
    return true;
  } catch {
    return false;
  }
}

/** Counts every chunk with choices as a token, even without text. Others contain the usage. */
export async function readAsVllm(
  response: Response,
  textOf: (choice: Body) => string,
): Promise<Reading> {
  assertStream(response);
  const reading = nothing();
  let done = false;
  for await (const message of vllmMessages(response)) {
    assert.ok(!done && message.startsWith("data: "), message);
    const data = message.slice("data: ".length);
    done = data === "[DONE]";
    if (done) continue;
    const { choices, usage } = JSON.parse(data);
    if (choices.length > 0) {
      reading.text += textOf(choices[0]) ?? "";
      reading.iterations++;
      reading.finish = choices[0].finish_reason ?? undefined;
      assert.equal(usage, undefined);
    } else {
      reading.usage = usage;
    }
  }
  assert.ok(done);
  return reading;
}

/** Counts every chunk with text as a token, keeps the last usage of any chunk, stops at [DONE]. */
export async function readAsGuide(
  response: Response,
  textOf: (choice: Body) => string,
): Promise<Reading> {
  assertStream(response);
  const reading = nothing();
  let rest = "";
  for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop()!;
    for (const line of lines.map((line) => line.trim())) {
      if (line === "") continue;
      assert.match(line, /^data:/);
      const data = line.slice("data:".length).trim();
      if (data === "[DONE]") return reading;
      const { id, choices, usage, error } = JSON.parse(data);
      assert.equal(error, undefined);
      reading.id ??= id;
      if (usage) reading.usage = usage;
      if (choices.length === 0) continue;
      const text = textOf(choices[0]);
      if (text) reading.iterations++;
      reading.text += text ?? "";
      reading.finish = choices[0].finish_reason ?? undefined;
    }
  }
  throw new Error("The stream has no [DONE]");
}

/** The text of a choice, for each kind of request. */
export const completionText = (choice: Body): string => choice.text;
export const chatText = (choice: Body): string => choice.delta.content;
