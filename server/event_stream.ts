/** Server-sent events, no faster than the client reads them. */

const encoder = new TextEncoder();

/** One event with this data. */
export function dataEvent(data: unknown): string {
  return `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
}

/** What becomes of a stream's client. */
interface EventReader {
  /** It may leave an event unread for so long; then it counts as gone, or it would keep its place for ever. */
  readonly milliseconds: number;
  /** Called where it goes away before the end. */
  readonly gone: () => void;
}

/**
 * A response whose body is a stream of events. The next one is asked for when the client has room for
 * it.
 */
export function eventResponse(
  events: AsyncGenerator<string>,
  { milliseconds, gone }: EventReader,
): Response {
  let unread: ReturnType<typeof setTimeout> | undefined;
  const leave = () => {
    gone();
    // Ends when the event that is being waited for is there.
    void events.return(undefined);
  };
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      clearTimeout(unread);
      const { done, value } = await events.next();
      if (done) return controller.close();
      controller.enqueue(encoder.encode(value));
      unread = setTimeout(() => {
        controller.error(new Error(`no event was read for ${milliseconds / 1000} s`));
        leave();
      }, milliseconds);
    },
    cancel() {
      clearTimeout(unread);
      leave();
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
