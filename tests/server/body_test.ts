/** Request bodies that arrive too slowly or incompletely. */

import assert from "node:assert/strict";
import { listening, makeServer } from "./served.ts";

Deno.test("a late request body is answered with 408, one cut off with 400, and no request stays open", async () => {
  const { server, log } = makeServer({ body: { bytes: 1000, milliseconds: 50 } });
  // The server reads no body before it has a model.
  server.ready({} as Parameters<typeof server.ready>[0]);
  await listening((request) => server.handle(request), async (address) => {
    const begun = `POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"pro`;
    const statusAfter = async (end: (connection: Deno.TcpConn) => Promise<void>) => {
      const { hostname, port } = new URL(address);
      using connection = await Deno.connect({ hostname, port: Number(port) });
      await connection.write(new TextEncoder().encode(begun));
      await end(connection);
      const buffer = new Uint8Array(1024);
      const count = await connection.read(buffer) ?? 0;
      return new TextDecoder().decode(buffer.subarray(0, count)).slice(0, 13);
    };
    assert.equal(await statusAfter(() => Promise.resolve()), "HTTP/1.1 408 ");
    assert.equal(await statusAfter((connection) => connection.closeWrite()), "HTTP/1.1 400 ");
  });
  assert.equal(server.open, 0);
  assert.match(log.join("\n"), /^POST \/tokenize 408 .*\nPOST \/tokenize 400 .* was cut off$/);
});
