/** Different requests over HTTP. A tenth is cancelled at some moment, and a tenth is invalid. */

import assert from "node:assert/strict";
import type { Model } from "../../mod.ts";
import { parseEvents } from "./served.ts";

/** Number of different requests. The expected answer of each is computed once, on its own. */
const KINDS = 20;

/** How a request ended. */
export type Outcome = "right" | "invalid" | "cancelled";

/** The server could not answer because its device failed. */
export class ServerFailure extends Error {
  override name = "ServerFailure";
}

// deno-lint-ignore no-explicit-any -- bodies as clients see them
type Body = any;

/** The request of a kind. Some stream, some sample at random, and their lengths differ. */
function bodyOf(kind: number) {
  return {
    prompt: "Once upon a time there was a king ".repeat(1 + kind % 4) + kind,
    max_tokens: 4 + kind,
    temperature: kind % 2,
    seed: kind,
    stream: kind % 3 === 0,
  };
}

async function textOf(response: Response): Promise<string> {
  const text = await response.text();
  if (!response.headers.get("content-type")!.startsWith("text/event-stream")) {
    return JSON.parse(text).choices[0].text;
  }
  const events = parseEvents(text) as Body[];
  const failed = events.find((event) => event.error);
  if (failed) throw new ServerFailure(failed.error.message);
  assert.equal(events.pop(), "[DONE]");
  return events.map(({ choices: [choice] }) => choice.text).join("");
}

/** Sends requests to a server of one model and compares the answers with the expected ones. */
export class MixedLoad {
  private constructor(readonly expected: readonly string[]) {}

  /** Computes the expected answers: the model answers each kind of request on its own. */
  static async of(model: Model): Promise<MixedLoad> {
    const expected: string[] = [];
    for (let kind = 0; kind < KINDS; kind++) {
      const { prompt, max_tokens: maxTokens, temperature, seed } = bodyOf(kind);
      const { text } = await model.complete(prompt, { raw: true, maxTokens, temperature, seed });
      expected.push(text);
    }
    model.engine.clearPrefixCache();
    return new MixedLoad(expected);
  }

  /** How request `number` must end: of every ten, one is invalid and one is cancelled. */
  static outcomeOf(number: number): Outcome {
    return number % 10 === 3 ? "invalid" : number % 10 === 7 ? "cancelled" : "right";
  }

  /**
   * Sends request `number` and checks its answer.
   *
   * @throws {ServerFailure} if the server has lost its device.
   */
  async ask(address: string, number: number): Promise<Outcome> {
    const kind = number % KINDS;
    const outcome = MixedLoad.outcomeOf(number);
    const gone = new AbortController();
    const body = outcome === "invalid"
      ? { ...bodyOf(kind), temperature: "hot" }
      : outcome === "cancelled"
      ? { ...bodyOf(kind), max_tokens: 150, ignore_eos: true }
      : bodyOf(kind);
    if (outcome === "cancelled") setTimeout(() => gone.abort(), (number * 37) % 200);
    try {
      const response = await fetch(`${address}/v1/completions`, {
        method: "POST",
        body: JSON.stringify(body),
        signal: gone.signal,
      });
      if (response.status >= 500) throw new ServerFailure(await response.text());
      if (outcome === "invalid") {
        assert.equal(response.status, 400);
        assert.equal((await response.json()).error.param, "temperature");
      } else {
        assert.equal(response.status, 200);
        const text = await textOf(response);
        // A request to be cancelled may have been answered before that.
        if (outcome === "right") assert.equal(text, this.expected[kind]);
      }
    } catch (error) {
      if (!gone.signal.aborted) throw error;
    }
    return outcome;
  }
}
