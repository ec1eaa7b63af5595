/** A local hub for tests, whose answers can be made wrong. */

import { createHash } from "node:crypto";

/** The parts of a request that tests examine. */
export interface SeenRequest {
  readonly path: string;
  readonly range: string | null;
  readonly token: string | null;
}

/** Answers a request in place of the hub; undefined leaves the correct answer to the hub. */
export type Fault = (
  request: SeenRequest,
  earlier: readonly SeenRequest[],
) => Response | Promise<Response> | undefined;

export const COMMIT = "0123456789abcdef0123456789abcdef01234567";

/** Returns bytes that depend on their position and on the seed. */
export function content(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 255);
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A hub with one repository, `org/repo`. As at the real hub, small text files have git's hash. */
export class BadHub implements AsyncDisposable {
  readonly seen: SeenRequest[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #readers: { readonly bytes: number; readonly resolve: () => void }[] = [];
  fault: Fault = () => undefined;
  commit = COMMIT;
  /** Replaces fields of a file's entry in the listing, by file name. */
  lies: Record<string, Record<string, unknown>> = {};

  constructor(readonly files: Record<string, Uint8Array<ArrayBuffer>>) {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => this.#answer(request),
    );
  }

  /** Tells the hub how many bytes of its file the client has. */
  progress(bytes: number): void {
    for (const reader of this.#readers) if (bytes >= reader.bytes) reader.resolve();
  }

  /** Resolves when the client has this many bytes of the file. */
  read(bytes: number): Promise<void> {
    return new Promise((resolve) => this.#readers.push({ bytes, resolve }));
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** Requests for the contents of files. */
  get downloads(): SeenRequest[] {
    return this.seen.filter(({ path }) => path.includes("/resolve/"));
  }

  async #answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const seen = {
      path: decodeURIComponent(url.pathname),
      range: request.headers.get("range"),
      token: request.headers.get("authorization"),
    };
    const earlier = [...this.seen];
    this.seen.push(seen);
    return await this.fault(seen, earlier) ?? this.serve(seen);
  }

  /** Returns the correct answer. */
  serve({ path, range }: SeenRequest): Response {
    if (path.startsWith("/api/models/org/repo/revision/")) {
      return Response.json({
        sha: this.commit,
        siblings: Object.entries(this.files).map(([rfilename, bytes]) => ({
          rfilename,
          size: bytes.length,
          ...(rfilename.endsWith(".json")
            ? {
              blobId: createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes)
                .digest("hex"),
            }
            : { blobId: "1".repeat(40), lfs: { sha256: sha256(bytes), size: bytes.length } }),
          ...this.lies[rfilename],
        })),
      });
    }
    const bytes = this.files[path.replace(/^\/org\/repo\/resolve\/[0-9a-f]{40}\//, "")];
    if (bytes === undefined) return new Response("Entry not found", { status: 404 });
    const start = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? NaN);
    if (Number.isNaN(start)) return new Response(bytes);
    if (start >= bytes.length) return new Response(null, { status: 416 });
    return new Response(bytes.subarray(start), {
      status: 206,
      headers: { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** A response with these bytes, whose connection is cut after the client has read them. */
export function cut(
  bytes: Uint8Array<ArrayBuffer>,
  read: Promise<void>,
  init: ResponseInit = {},
): Response {
  let sent = false;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      if (!sent) controller.enqueue(bytes);
      else {
        await read;
        controller.error(new Error("cut"));
      }
      sent = true;
    },
  });
  return new Response(body, init);
}
