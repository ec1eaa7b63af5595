/** Runs suites on a server that fails some requests and reports its own times. */

import assert from "node:assert/strict";
import { Harness, type Suite } from "../../bench/harness/harness.ts";
import { type Report, reportSchema, type RunOptions } from "../../bench/report/report.ts";
import { EndpointClient } from "../../bench/targets/endpoint_client.ts";
import { EndpointTarget } from "../../bench/targets/endpoint_target.ts";
import { listening } from "../server/served.ts";
import { PROGRAM, RUN } from "./scripted_target.ts";

/** The server's own times for each answer. */
export const TIMINGS = { prompt_ms: 0.25, predicted_per_token_ms: 0.5 };

/**
 * Measures a server that fails the requests for whose numbers, counted from 1, `fails` is true.
 *
 * @throws the error that ends the run. No request may be open then.
 */
export async function measureFailing(
  suite: Suite,
  fails: (number: number) => boolean,
  run: Partial<RunOptions>,
): Promise<Report> {
  let [number, open] = [0, 0];
  let report: Report | undefined;
  await listening(async (request) => {
    if (request.method === "GET") return Response.json({ data: [{ id: "m" }] });
    const { max_tokens } = await request.json();
    // Requests for two tokens do not count: they only measure how long tokens are.
    if (max_tokens > 2 && fails(++number)) return new Response("queue full", { status: 429 });
    open++;
    return answer(max_tokens, () => open--);
  }, async (url) => {
    const client = await EndpointClient.open({ url });
    const target = await EndpointTarget.open(client, PROGRAM, "Once upon a time there was. ");
    try {
      report = await Harness.run(suite, target, { run: { ...RUN, ...run } });
    } finally {
      assert.equal(open, 0);
    }
  });
  assert.ok(report?.complete);
  assert.deepEqual(reportSchema.parse(report), report);
  return report;
}

/** A stream of tokens, one per millisecond. */
function answer(tokens: number, ended: () => void): Response {
  const encoder = new TextEncoder();
  const event = (data: object) => encoder.encode(`data: ${JSON.stringify(data)}\n\n`);
  const body = new ReadableStream({
    async start(controller) {
      for (let i = 0; i < tokens; i++) {
        controller.enqueue(event({ choices: [{ text: "a" }] }));
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      const usage = { prompt_tokens: 9, completion_tokens: tokens };
      controller.enqueue(event({ choices: [], usage, timings: TIMINGS }));
      ended();
      controller.enqueue(encoder.encode("data: [DONE]\n\n"));
      controller.close();
    },
  });
  return new Response(body);
}
