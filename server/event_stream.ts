/** Server-sent events, sent no faster than the client reads them. */

const encoder = new TextEncoder();

/** Returns an event with this data. */
export function dataEvent(data: unknown): string {
  return `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
}

/** The client of a stream. */
interface EventReader {
  /**
   * Time for which an event may stay unread, in ms. After that the client counts as disconnected;
   * otherwise it could occupy its place in the queue for ever.
   */
  readonly milliseconds: number;
  /** Called if the client disconnects before the end. */
  readonly gone: () => void;
}

/**
 * Returns a response whose body is a stream of events. The next event is requested only when the
 * client is ready to read it.
 */
export function eventResponse(
  events: AsyncGenerator<string>,
  { milliseconds, gone }: EventReader,
): Response {
  let unread: ReturnType<typeof setTimeout> | undefined;
  const leave = () => {
    gone();
    // Takes effect once the pending event has arrived.
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
      // Otherwise proxies such as nginx buffer events.
      "x-accel-buffering": "no",
    },
  });
}
