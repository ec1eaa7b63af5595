import assert from "node:assert/strict";
import { join } from "node:path";
import { ModelNotFoundError, UnsupportedError } from "../../engine/errors.ts";
import { type Beginning, pull } from "../../engine/hub/pull.ts";
import { HubCache } from "../../engine/hub/cache.ts";
import { parseHubSpec } from "../../engine/hub/spec.ts";
import { BadHub, COMMIT, content, cut, sha256 } from "./bad_hub.ts";
import { HurriedTimers, ScriptedClock } from "../time.ts";
import { BYTES, hubTest, NAME, PATH, refused, timing } from "./hub_case.ts";

hubTest("pull() fills the cache in Hugging Face's layout, once", async (hub, cache, get) => {
  const path = await get();
  const repository = join(cache.directory, "models--org--repo");
  assert.equal(path, join(repository, "snapshots", COMMIT, NAME));
  assert.deepEqual(await Deno.readFile(path), BYTES);
  assert.deepEqual(await Deno.readFile(join(repository, "blobs", sha256(BYTES))), BYTES);
  assert.equal(await Deno.readTextFile(join(repository, "refs/main")), COMMIT);
  assert.equal(await get(), path);
  assert.equal(hub.downloads.length, 1);
});

hubTest("a download resumes where the connection was cut", async (hub, _cache, get) => {
  hub.fault = ({ path, range }, earlier) =>
    path !== PATH || range !== null || earlier.length > 1
      ? undefined
      : cut(BYTES.subarray(0, 70_000), hub.read(70_000));
  assert.deepEqual(await Deno.readFile(await get()), BYTES);
  assert.deepEqual(hub.downloads.map(({ range }) => range), [null, "bytes=70000-"]);
});

hubTest("a partial download of an earlier process is resumed", async (hub, cache, get) => {
  const blob = cache.blob({ repository: "org/repo", hash: sha256(BYTES) });
  await Deno.mkdir(join(blob, ".."), { recursive: true });
  await Deno.writeFile(`${blob}.incomplete`, BYTES.subarray(0, 1234));
  assert.equal(cache.find(parseHubSpec("hf:org/repo")), undefined);
  assert.deepEqual(await Deno.readFile(await get()), BYTES);
  assert.deepEqual(hub.downloads.map(({ range }) => range), ["bytes=1234-"]);
});

hubTest("a wrong partial download is detected, and downloaded again", async (hub, cache, get) => {
  const blob = cache.blob({ repository: "org/repo", hash: sha256(BYTES) });
  await Deno.mkdir(join(blob, ".."), { recursive: true });
  for (const [length, requests] of [[1234, 2], [BYTES.length, 1], [BYTES.length + 5, 1]] as const) {
    hub.seen.length = 0;
    await Deno.remove(cache.folder("org/repo"), { recursive: true });
    await Deno.mkdir(join(blob, ".."), { recursive: true });
    await Deno.writeFile(`${blob}.incomplete`, new Uint8Array(length));
    assert.deepEqual(await Deno.readFile(await get()), BYTES);
    assert.equal(hub.downloads.length, requests);
  }
});

for (
  const [name, answer] of [
    ["200 with the whole file", () => new Response(BYTES)],
    ["416", () => new Response(null, { status: 416 })],
    ["206 of another part", () =>
      new Response(BYTES.subarray(5), {
        status: 206,
        headers: { "content-range": `bytes 5-${BYTES.length - 1}/${BYTES.length}` },
      })],
    ["206 without a content-range", () => new Response(BYTES.subarray(1234), { status: 206 })],
  ] as const
) {
  hubTest(`a range answered by ${name} still gives the file`, async (hub, cache, get) => {
    const blob = cache.blob({ repository: "org/repo", hash: sha256(BYTES) });
    await Deno.mkdir(join(blob, ".."), { recursive: true });
    await Deno.writeFile(`${blob}.incomplete`, BYTES.subarray(0, 1234));
    hub.fault = ({ range }) => range === null ? undefined : answer();
    assert.deepEqual(await Deno.readFile(await get()), BYTES);
  });
}

hubTest("a stalled connection is closed, and the download resumed", async (hub, _cache, get) => {
  hub.fault = ({ path, range }) => {
    if (path !== PATH || range !== null) return undefined;
    return new Response(
      new ReadableStream({ start: (controller) => controller.enqueue(BYTES.subarray(0, 500)) }),
    );
  };
  using clock = new ScriptedClock();
  const stall = 100;
  const onProgress = (bytes: number) => {
    if (bytes === 500) clock.time += stall + 1;
  };
  assert.deepEqual(
    await Deno.readFile(await get({ timing: { ...timing, stall }, onProgress })),
    BYTES,
  );
  assert.deepEqual(hub.downloads.map(({ range }) => range), [null, "bytes=500-"]);
});

for (const status of [429, 500, 502, 503]) {
  hubTest(`${status} causes another try after Retry-After`, async (hub, _cache, get) => {
    hub.fault = (_, earlier) =>
      earlier.length === 0
        ? new Response("later", { status, headers: { "retry-after": "1" } })
        : undefined;
    using timers = new HurriedTimers();
    assert.deepEqual(await Deno.readFile(await get()), BYTES);
    assert.deepEqual(timers.waits, [1000]);
  });
}

hubTest("a hub that stays down, or asks for a long wait, is an error", async (hub, _cache, get) => {
  hub.fault = () => new Response("down", { status: 503 });
  await refused(get(), /the hub returned 503; 3 tries in a row failed/);
  assert.equal(hub.seen.length, 3);
  hub.fault = () => new Response("", { status: 429, headers: { "retry-after": "3600" } });
  await refused(get(), /asks to wait 3600 s/);
});

for (
  const [status, token, message] of [
    [401, undefined, /private or gated \(401\); check the name, or set HF_TOKEN/],
    [401, "secret", /rejected HF_TOKEN/],
    [403, "secret", /accept the model's terms/],
    [404, undefined, /no such repository, revision or file \(404\)/],
  ] as const
) {
  hubTest(
    `the error for ${status} ${token ? "with" : "without"} a token says how to fix it`,
    async (hub, _, get) => {
      hub.fault = () => new Response("no", { status });
      const work = get(token === undefined ? {} : { token });
      await refused(work, message);
      await refused(
        get(token === undefined ? {} : { token }),
        /^Cannot download hf:org\/repo: (?!.*secret)/,
      );
      assert.equal(hub.seen.length, 2);
    },
  );
}

hubTest("the token is sent to the hub, but not to redirect targets", async (hub, _cache, get) => {
  await using storage = new BadHub({ [NAME]: BYTES });
  hub.fault = ({ path }) =>
    path === PATH ? Response.redirect(`${storage.endpoint}${PATH}`, 302) : undefined;
  assert.deepEqual(await Deno.readFile(await get({ token: "secret" })), BYTES);
  assert.ok(hub.seen.every(({ token }) => token === "Bearer secret"));
  assert.deepEqual(storage.seen.map(({ token }) => token), [null]);
});

hubTest("endless redirects, or ones to no web address, are refused", async (hub, _cache, get) => {
  hub.fault = () => new Response(null, { status: 302, headers: { location: "/again" } });
  await refused(get(), /more than 8 redirects/);
  hub.fault = () =>
    new Response(null, { status: 302, headers: { location: "file:///etc/passwd" } });
  await refused(get(), /redirects to file:\/\/\/etc\/passwd/);
});

for (
  const [name, fault, message] of [
    ["other bytes of the same size", () => new Response(content(BYTES.length, 2)), /its hash/],
    ["another size", () => new Response(content(99)), /the hub sent 99 bytes/],
    [
      "more than its size",
      () => new Response(new Blob([content(BYTES.length + 1)]).stream()),
      /more than 200000 bytes/,
    ],
    [
      "a web page",
      () => new Response("<html>log in</html>", { headers: { "content-type": "text/html" } }),
      /web page/,
    ],
  ] as const
) {
  hubTest(`${name} instead of the file is never used`, async (hub, cache, get) => {
    hub.fault = ({ path }) => path === PATH ? fault() : undefined;
    await refused(get(), message);
    assert.equal(cache.find(parseHubSpec("hf:org/repo")), undefined);
    assert.deepEqual(cache.list(), []);
    hub.fault = () => undefined;
    assert.deepEqual(await Deno.readFile(await get()), BYTES);
  });
}

hubTest("false or malformed file lists are refused", async (hub, cache, get) => {
  hub.lies = { [NAME]: { lfs: { sha256: "../../x", size: 5 } } };
  await refused(get(), /no hash to verify it/);
  hub.lies = { [NAME]: { lfs: { sha256: sha256(BYTES), size: -1 } } };
  await refused(get(), /has no size/);
  for (
    const rfilename of ["../../evil-Q4_K_M.gguf", "/etc/evil-Q4_K_M.gguf", "a\\..\\b-Q4_K_M.gguf"]
  ) {
    hub.lies = { [NAME]: { rfilename } };
    await refused(get(), /has an unsafe path/);
  }
  for (const body of ["", "[]", "null", "{}", '{"sha":"../x","siblings":[]}']) {
    hub.fault = () => new Response(body, { headers: { "content-type": "application/json" } });
    await refused(get(), /is not a list of files|is not JSON/);
  }
  assert.equal(hub.downloads.length, 0);
  assert.deepEqual([...Deno.readDirSync(cache.directory)], []);
});

hubTest("concurrent pulls share one download", async (hub, _cache, get) => {
  const waiting = Promise.withResolvers<void>();
  hub.fault = async (request) => {
    if (request.path === PATH) await waiting.promise;
    return hub.serve(request);
  };
  let waited = 0;
  const onWait = () => {
    waited++;
    waiting.resolve();
  };
  const options = { onWait };
  const paths = await Promise.all([get(options), get(options)]);
  assert.equal(paths[0], paths[1]);
  assert.equal(waited, 1);
  assert.equal(hub.downloads.length, 1);
});

hubTest("an abort stops at once and keeps the bytes received", async (hub, cache, get) => {
  hub.fault = ({ path, range }) =>
    path === PATH && range === null
      ? new Response(
        new ReadableStream({ start: (controller) => controller.enqueue(BYTES.subarray(0, 500)) }),
      )
      : undefined;
  const stop = new AbortController();
  const reason = new Error("stopped");
  const onProgress = (bytes: number) => bytes === 500 && stop.abort(reason);
  await assert.rejects(get({ signal: stop.signal, onProgress: (b) => void onProgress(b) }), reason);
  assert.equal(
    Deno.statSync(`${cache.blob({ repository: "org/repo", hash: sha256(BYTES) })}.incomplete`).size,
    500,
  );
  assert.deepEqual(await Deno.readFile(await get()), BYTES);
});

hubTest("a cache that cannot be written to is reported", async (hub) => {
  const file = await Deno.makeTempFile();
  const spec = parseHubSpec("hf:org/repo");
  const work = pull(spec, new HubCache(join(file, "cache")), { endpoint: hub.endpoint, timing });
  await refused(work, /^Cannot write to the cache .*TVLLM_CACHE to another directory$/);
});

hubTest("safetensors: pull() gets the model's files, but no code", async (hub, cache, get) => {
  delete hub.files[NAME];
  const names = [
    "config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
  ];
  for (const [i, name] of names.entries()) hub.files[name] = content(100 + i, i);
  for (const name of ["modeling.py", "pytorch_model.bin"]) hub.files[name] = content(10);
  const path = await get();
  assert.deepEqual([...Deno.readDirSync(path)].map(({ name }) => name).sort(), names);
  assert.deepEqual(await Deno.readFile(join(path, "tokenizer.json")), hub.files["tokenizer.json"]);
  assert.equal(cache.find(parseHubSpec("hf:org/repo"))?.format, "safetensors");
});

hubTest("models of a repository are listed and removed one by one", async (hub, cache, get) => {
  hub.files["split/x-q8_0-00001-of-00002.gguf"] = content(1000, 3);
  hub.files["split/x-q8_0-00002-of-00002.gguf"] = content(2000, 4);
  await get();
  await get({}, "hf:org/repo:Q8_0");
  assert.deepEqual(
    cache.list().map(({ spec, bytes }) => [spec, bytes]),
    [["hf:org/repo:Q4_K_M", 200_000], ["hf:org/repo:Q8_0", 3000]],
  );
  await refused(
    get({}, "hf:org/repo:Q2_K"),
    /has no 'Q2_K'; append :QUANT, one of 'Q4_K_M', 'Q8_0'/,
  );
  assert.equal(await cache.remove(parseHubSpec("hf:org/repo:q8_0")), 3000);
  assert.equal(cache.find(parseHubSpec("hf:org/repo:Q8_0")), undefined);
  assert.equal(await cache.remove(parseHubSpec("hf:org/repo:Q8_0")), undefined);
  // After the branch moves on, the older commit is still listed, with its hash.
  hub.commit = "f".repeat(40);
  hub.files[NAME] = content(50, 9);
  await get();
  assert.deepEqual(cache.list().map(({ spec }) => spec).sort(), [
    "hf:org/repo:Q4_K_M",
    `hf:org/repo:Q4_K_M@${COMMIT.slice(0, 12)}`,
  ]);
  assert.equal(cache.find(parseHubSpec(`hf:org/repo@${COMMIT.slice(0, 12)}`))?.bytes, 200_000);
  assert.equal(await cache.remove(parseHubSpec("hf:org/repo")), 200_050);
  assert.deepEqual(cache.list(), []);
});

hubTest("find() has pull()'s preferences, and does not guess", async (hub, cache, get) => {
  const find = (spec: string) => cache.find(parseHubSpec(spec))?.spec;
  for (const quant of ["Q2_K", "Q3_K", "Q8_0"]) {
    hub.files[`model-${quant}.gguf`] = content(100);
  }
  await get({}, "hf:org/repo:Q3_K");
  assert.equal(find("hf:org/repo"), "hf:org/repo:Q3_K");
  await get({}, "hf:org/repo:Q2_K");
  const message = "Cannot choose a model: hf:org/repo matches several in the cache; " +
    "append :QUANT, one of 'Q2_K', 'Q3_K'";
  assert.throws(() => find("hf:org/repo"), { name: "ModelNotFoundError", message });
  await assert.rejects(cache.remove(parseHubSpec("hf:org/repo@main")), ModelNotFoundError);
  assert.equal(find("hf:org/repo:Q2_K"), "hf:org/repo:Q2_K");
  await get({}, "hf:org/repo:Q8_0");
  assert.equal(find("hf:org/repo"), "hf:org/repo:Q8_0");
  await get();
  assert.equal(find("hf:org/repo"), "hf:org/repo:Q4_K_M");
});

hubTest("an abort ends the wait for another process's lock", async (_hub, cache, get) => {
  const other = await cache.lock(
    { repository: "org/repo", hash: sha256(BYTES) },
    () => {},
    () => Promise.resolve(),
  );
  const controller = new AbortController();
  const reason = new Error("Ctrl-C");
  const onWait = () => void setTimeout(() => controller.abort(reason), 10);
  // The lock is released only below, so without the abort this would wait forever.
  await assert.rejects(get({ signal: controller.signal, onWait }), (error) => error === reason);
  other[Symbol.dispose]();
});

hubTest(
  "a large model is checked before its download, and refused",
  async (hub, cache, get) => {
    const size = 2 ** 30;
    hub.lies[NAME] = { lfs: { sha256: sha256(BYTES), size } };
    const seen: Beginning[] = [];
    const check = (beginning: Beginning) => {
      seen.push(beginning);
      if (seen.length > 1) throw new UnsupportedError("Cannot run it");
      return false;
    };
    await assert.rejects(() => get({ check }), UnsupportedError);
    assert.deepEqual(seen.map(({ name, bytes, size }) => [name, bytes.length, size]), [
      [NAME, BYTES.length, size],
      [NAME, BYTES.length, size],
    ]);
    assert.deepEqual(hub.downloads.map(({ range }) => range), [
      "bytes=0-8388607",
      "bytes=0-33554431",
    ]);
    assert.equal(cache.find(parseHubSpec("hf:org/repo")), undefined);
  },
);

hubTest("a small model is not checked before its download", async (hub, _cache, get) => {
  await get({ check: () => assert.fail("it was checked") });
  assert.equal(hub.downloads.length, 1);
});

Deno.test("config.json of safetensors is checked before the weights are downloaded", async () => {
  const files = { "config.json": content(30), "model.safetensors": BYTES };
  await using hub = new BadHub(files);
  hub.lies["model.safetensors"] = { lfs: { sha256: sha256(BYTES), size: 2 ** 30 } };
  const directory = await Deno.makeTempDir({ prefix: "tvllm-hub-" });
  const check = ({ name, bytes }: Beginning): boolean => {
    assert.match(name, /config\.json$/);
    assert.deepEqual(bytes, files["config.json"]);
    throw new UnsupportedError("Cannot run it");
  };
  const options = { endpoint: hub.endpoint, timing, check };
  const work = pull(parseHubSpec("hf:org/repo"), new HubCache(directory), options);
  await assert.rejects(() => work, UnsupportedError);
  assert.deepEqual(hub.downloads.map(({ path }) => path.split("/").at(-1)), ["config.json"]);
  await Deno.remove(directory, { recursive: true });
});

hubTest("pull() waits for the hub's RateLimit, and reports it", async (hub, _cache, get) => {
  const headers = (reset: number) => ({
    "ratelimit": `"resolvers";r=0;t=${reset}`,
    "ratelimit-policy": '"fixed window";"resolvers";q=3000;w=300',
  });
  hub.fault = (_, earlier) =>
    earlier.length === 0 ? new Response("", { status: 429, headers: headers(2) }) : undefined;
  const said: string[] = [];
  {
    using timers = new HurriedTimers();
    assert.deepEqual(await Deno.readFile(await get({ onRetry: (line) => said.push(line) })), BYTES);
    assert.deepEqual(timers.waits, [2000]);
  }
  assert.deepEqual(said, [
    'the hub returned 429 (rate limit of 3000 requests per 300 s for "resolvers": 0 left, ' +
    "resets in 2 s); trying again in 2.0 s",
  ]);
  hub.fault = () => new Response("", { status: 429, headers: headers(299) });
  await refused(
    get({}, "hf:org/repo:Q4_K_M@other"),
    /resets in 299 s\); the hub asks to wait 299 s/,
  );
});
