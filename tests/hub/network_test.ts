/** Connections that fail, incomplete or wrong answers, and the secrecy of the token. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parseHubSpec } from "../../engine/hub/spec.ts";
import { BadHub, content, cut } from "./bad_hub.ts";
import { BYTES, hubTest, NAME, PATH, refused, timing } from "./hub_case.ts";

hubTest(
  "a download that is cut again and again completes, as long as it makes progress",
  async (hub, _, get) => {
    hub.fault = ({ path, range }) => {
      if (path !== PATH) return undefined;
      const start = Number(/\d+/.exec(range ?? "0"));
      const end = Math.min(start + 20_000, BYTES.length);
      const headers = { "content-range": `bytes ${start}-${BYTES.length - 1}/${BYTES.length}` };
      const init = start === 0 ? {} : { status: 206, headers };
      return cut(BYTES.subarray(start, end), hub.read(end), init);
    };
    const retries: string[] = [];
    const path = await get({ onRetry: (line) => retries.push(line) });
    assert.deepEqual(await Deno.readFile(path), BYTES);
    assert.ok(retries.length > timing.attempts, `${retries.length} tries`);
  },
);

hubTest("a hub that never answers is an error after some tries", async (hub, _cache, get) => {
  const { promise: silence, resolve: release } = Promise.withResolvers<void>();
  hub.fault = () => silence.then(() => new Response(""));
  const quick = { ...timing, attempts: 2, stall: 100 };
  await refused(get({ timing: quick }), /no data arrived for 0.1 s; 2 tries in a row failed/);
  release();
});

hubTest("a hub that cannot be reached is an error after some tries", async (_hub, _cache, get) => {
  const gone = new BadHub({});
  const { endpoint } = gone;
  await gone[Symbol.asyncDispose]();
  await refused(get({ endpoint }), /the connection failed .*; 3 tries in a row failed/);
});

hubTest(
  "an expired link to a storage host is requested again",
  async (hub, _cache, get) => {
    await using storage = new BadHub({ [NAME]: BYTES });
    storage.fault = (_, earlier) =>
      earlier.length === 0 ? new Response("expired", { status: 403 }) : undefined;
    hub.fault = ({ path }) =>
      path === PATH ? Response.redirect(`${storage.endpoint}${PATH}`, 302) : undefined;
    assert.deepEqual(await Deno.readFile(await get()), BYTES);
    assert.equal(hub.downloads.length, 2);
  },
);

hubTest("a truncated file that is sent as complete is never used", async (hub, cache, get) => {
  // There is no content-length, so only the end of the response shows that bytes are missing.
  hub.fault = ({ path, range }) =>
    path !== PATH
      ? undefined
      : range === null
      ? new Response(new Blob([BYTES.subarray(0, 999)]).stream())
      : new Response(null, { status: 416 });
  await refused(get(), /Cannot download model-Q4_K_M.gguf: .*3 tries in a row failed/);
  assert.equal(cache.find(parseHubSpec("hf:org/repo")), undefined);
  hub.fault = () => undefined;
  assert.deepEqual(await Deno.readFile(await get()), BYTES);
});

hubTest(
  "a small file is verified by git's hash, and a model without it is not in the cache",
  async (hub, cache, get) => {
    delete hub.files[NAME];
    for (const name of ["config.json", "model.safetensors"]) hub.files[name] = content(100);
    hub.fault = ({ path }) =>
      path.endsWith("/config.json") ? new Response(content(100, 2)) : undefined;
    await refused(get(), /^Cannot download config.json: .*its hash/);
    assert.deepEqual(cache.list(), []);
    hub.fault = () => undefined;
    assert.deepEqual(await Deno.readFile(join(await get(), "config.json")), content(100));
  },
);

hubTest("the token is never part of an error", async (hub, _cache, get) => {
  const token = "hf_secret";
  for (const odd of [`${token}\nnext`, `${token}\r`, `${token} x`, `\x00${token}`, `${token}é`]) {
    await assert.rejects(get({ token: odd }), (error: Error) => {
      assert.equal(error.name, "RequestError");
      assert.match(error.message, /character \d+ is not allowed in a token; check HF_TOKEN$/);
      assert.ok(!Deno.inspect(error).includes(token), Deno.inspect(error));
      return true;
    });
  }
  assert.equal(hub.seen.length, 0);
  // The hub sends the token back.
  hub.fault = ({ token: sent }) =>
    new Response(null, { status: 302, headers: { location: `ftp://x/?${sent}` } });
  await refused(get({ token }), /the hub redirects to ftp:\/\/x\/\?Bearer HF_TOKEN, which/);
});
