/** Access control: API keys, pages of other sites, and host names that are not the server's own. */

import assert from "node:assert/strict";
import type { ServerOptions } from "../../server/server.ts";
import { makeServer, request } from "./served.ts";

async function status(
  options: Partial<ServerOptions>,
  headers: Record<string, string>,
  route = "GET /metrics",
): Promise<number> {
  const { server } = makeServer(options);
  return (await server.handle(request(route, undefined, { headers }))).status;
}

Deno.test("an API key must be sent as a bearer token, except for /health and the page", async () => {
  const options = { apiKey: "secret" };
  assert.equal(await status(options, {}), 401);
  assert.equal(await status(options, { authorization: "Bearer secrets" }), 401);
  assert.equal(await status(options, { authorization: "Basic secret" }), 401);
  assert.equal(await status(options, { authorization: "Bearer secret" }), 200);
  assert.equal(await status(options, { authorization: "bearer secret" }), 200);
  assert.equal(await status(options, {}, "GET /"), 200);
  assert.equal(await status(options, {}, "GET /health"), 503); // it is loading
  const { server } = makeServer(options);
  const refused = await server.handle(request("GET /v1/models"));
  assert.equal(refused.headers.get("www-authenticate"), "Bearer");
  assert.equal((await refused.json()).error.code, "invalid_api_key");
});

Deno.test("pages of other sites may not send requests unless --cors names their site", async () => {
  const site = "https://example.com";
  assert.equal(await status({}, { origin: site }), 403);
  assert.equal(await status({}, { origin: "http://localhost" }), 200);
  assert.equal(await status({ origins: ["https://other.example"] }, { origin: site }), 403);
  const { server } = makeServer({ origins: [site] });
  const preflight = await server.handle(
    request("OPTIONS /v1/chat/completions", undefined, { headers: { origin: site } }),
  );
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get("access-control-allow-origin"), site);
  const plain = await server.handle(request("GET /metrics"));
  assert.equal(plain.headers.get("access-control-allow-origin"), null);
});

Deno.test("without an API key, the server answers only under its own host names", async () => {
  for (const host of ["localhost:8080", "127.0.0.1", "[::1]:8080", "a.localhost", "box"]) {
    assert.equal(await status({ hosts: ["box"] }, { host }), 200, host);
  }
  assert.equal(await status({}, { host: "evil.example" }), 403);
  assert.equal(
    await status({ apiKey: "k" }, { host: "a.example", authorization: "Bearer k" }),
    200,
  );
});
