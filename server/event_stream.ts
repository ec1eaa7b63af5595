/** Server-sent events, no faster than the client reads them. */

const encoder = new TextEncoder();

/** One event with this data. */
export function dataEvent(data: unknown): string {
  return `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
}

/**
 * A response whose body is a stream of events. The next one is asked for when the client has room for
 * it; `gone` is called where it goes away before the end.
 */
export function eventResponse(events: AsyncGenerator<string>, gone: () => void): Response {
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const { done, value } = await events.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
    cancel() {
      gone();
      // Ends when the event that is being waited for is there.
      void events.return(undefined);
    },
  }, { highWaterMark: 0 });
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      // Proxies such as nginx hold events back otherwise.
      "x-accel-buffering": "no",
    },
  });
}
