/** Turns answers into HTTP responses: complete, or as a stream of events. */

import type { Answer } from "../engine/run/answer.ts";
import type { FinishReason } from "../engine/run/sequence.ts";
import { errorBody, HttpError, httpError } from "./errors.ts";
import { dataEvent, eventResponse } from "./event_stream.ts";
import type { Exchange } from "./exchange.ts";
import { type AnswerEvent, answerEvents, mergedEvents } from "./generation.ts";
import type { SharedFields } from "./requests.ts";
import { timingsOf, usageOf } from "./usage.ts";

/** The format of the response to a kind of request. */
export interface ReplyFormat {
  /** The field "object" of a complete response. */
  readonly object: string;
  /** The field "object" of an event. */
  readonly chunkObject: string;
  /** Prefix of the id. */
  readonly idPrefix: string;
  /** A writer for each answer. */
  readonly choices: readonly ChoiceWriter[];
}

/** Writes one answer as a choice of the response. */
export interface ChoiceWriter {
  /** Returns the fields of a choice in an event, without its index and finish reason. */
  chunk(event: AnswerEvent): Record<string, unknown>;
  /** Returns the same fields of a choice in a complete response. */
  whole(events: readonly AnswerEvent[]): Record<string, unknown>;
}

/** The answers of a request, and how to send them. */
export interface Reply {
  readonly answers: readonly Answer[];
  readonly format: ReplyFormat;
  readonly fields: SharedFields;
  readonly model: string;
  /** Time for which the client may leave an event unread, in ms. */
  readonly unread: number;
}

/** Creates the response to a request. A stream closes the exchange at its end. */
export async function reply(work: Reply, exchange: Exchange): Promise<Response> {
  if (work.fields.stream) {
    exchange.stream();
    const { unread: milliseconds } = work;
    const gone = () => exchange.clientGone();
    return eventResponse(streamEvents(work, exchange), { milliseconds, gone });
  }
  const { answers, format: { object, choices } } = work;
  const all = await Promise.all(answers.map(async (answer) => {
    const events: AnswerEvent[] = [];
    for await (const event of answerEvents(answer)) events.push(event);
    return events;
  }));
  const timings = answers.length === 1 ? timingsOf(answers[0]!) : undefined;
  return Response.json({
    ...head(work, exchange, object),
    choices: all.map((events, index) => ({
      index,
      ...choices[index]!.whole(events),
      finish_reason: finishReason(events.at(-1)!.finish),
    })),
    usage: usageOf(answers),
    ...(timings && { timings }),
  });
}

function head(
  { format: { idPrefix }, model }: Reply,
  { id, started }: Exchange,
  object: string,
) {
  return { id: idPrefix + id, object, created: Math.floor(started.getTime() / 1000), model };
}

async function* streamEvents(work: Reply, exchange: Exchange): AsyncGenerator<string> {
  const { answers, fields, format: { chunkObject, choices } } = work;
  const { include_usage: wantsUsage, continuous_usage_stats: always } = fields.stream_options ?? {};
  const start = head(work, exchange, chunkObject);
  let failure: HttpError | undefined;
  try {
    for await (const [index, event] of mergedEvents(answers)) {
      const choice = {
        index,
        ...choices[index]!.chunk(event),
        finish_reason: finishReason(event.finish),
      };
      yield dataEvent({ ...start, choices: [choice], ...(always && { usage: usageOf(answers) }) });
    }
    if (wantsUsage) {
      const timings = answers.length === 1 ? timingsOf(answers[0]!) : undefined;
      yield dataEvent({
        ...start,
        choices: [],
        usage: usageOf(answers),
        ...(timings && { timings }),
      });
    }
  } catch (error) {
    failure = httpError(error);
    yield dataEvent(errorBody(failure));
  } finally {
    exchange.close(failure?.status ?? 200, failure);
  }
  // The exchange is closed before this event: clients may disconnect as soon as they have read it,
  // and must not count as gone.
  yield dataEvent("[DONE]");
}

/** @throws {HttpError} if the server has cancelled the answer. */
function finishReason(finish: FinishReason | undefined): "stop" | "length" | null {
  if (finish === "cancelled") {
    throw new HttpError(503, "Cannot finish the answer: the server is shutting down");
  }
  return finish ?? null;
}
