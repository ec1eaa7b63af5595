/** The first run on a machine with empty caches, if packages arrive slowly. */

import assert from "node:assert/strict";
import { join } from "node:path";
import cliLock from "../../cli/deno.lock" with { type: "text" };
import { masked, NO_TERMINAL, PseudoTerminal } from "./pseudo_terminal.ts";
import { lacks, ROOT } from "./run_tvllm.ts";

if (NO_TERMINAL) console.error(`skipping the first run on a terminal: ${NO_TERMINAL}`);
const ignore = NO_TERMINAL !== undefined;

/** The tarballs of the packages that a first run downloads, by the end of their address. */
async function packTarballs(): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const folder = Deno.makeTempDirSync();
  const packages = Object.keys(JSON.parse(cliLock).npm).map((key) => key.replace(/_.*/, ""));
  // The whole environment is passed on because it may configure how npm's registry is reached.
  const { code, stderr } = await new Deno.Command("npm", {
    args: ["pack", "--prefer-offline", "--silent", "--pack-destination", folder, ...packages],
    env: { npm_config_cache: join(ROOT, ".cache/npm") },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new Map(packages.map((name) => {
    const [, scope = "", base, version] = /^(?:@([^/]+)\/)?(.+)@(.+)$/.exec(name)!;
    const file = `${scope && `${scope}-`}${base}-${version}.tgz`;
    return [`/-/${base}-${version}.tgz`, Deno.readFileSync(join(folder, file))];
  }));
}

/** An npm registry that waits for `answer()` in the middle of echarts, or before all answers. */
class SlowRegistry implements AsyncDisposable {
  readonly #open = Promise.withResolvers<void>();
  readonly #server;

  constructor(tarballs?: ReadonlyMap<string, Uint8Array<ArrayBuffer>>) {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      async ({ url }) => {
        if (tarballs === undefined) await this.#open.promise;
        const tarball = tarballs?.get(/\/-\/.*/.exec(url)?.[0] ?? "");
        // Deno does not need the list of versions, because its lock file has them.
        if (tarball === undefined) return new Response("gone", { status: 404 });
        return this.#send(tarball, url.includes("echarts"));
      },
    );
  }

  #send(tarball: Uint8Array<ArrayBuffer>, slowly: boolean): Response {
    const middle = tarball.length >> 1;
    const parts = [tarball.subarray(0, middle), tarball.subarray(middle)];
    const body = new ReadableStream({
      pull: async (controller) => {
        const part = parts.shift();
        if (part === undefined) return controller.close();
        if (slowly && parts.length === 0) await this.#open.promise;
        controller.enqueue(part);
      },
    });
    return new Response(body, { headers: { "content-length": String(tarball.length) } });
  }

  get address(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/`;
  }

  /** Lets all waiting answers continue. */
  answer(): void {
    this.#open.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.answer();
    await this.#server.shutdown();
  }
}

/** Starts a first run that downloads its packages from `registry`. */
function startFirstRun(registry: SlowRegistry): Promise<PseudoTerminal> {
  const script = `sh "$0" generate "Once upon a time" -n 12 --temp 0 --device cpu`;
  return PseudoTerminal.open(script, {
    HOME: Deno.makeTempDirSync(),
    DENO_DIR: join(Deno.makeTempDirSync(), "cold"),
    NPM_CONFIG_REGISTRY: registry.address,
  });
}

Deno.test({
  name: "on a terminal a first run shows how far its packages are, and then answers",
  ignore: ignore || lacks("a first run that succeeds", "npm"),
  fn: async (t) => {
    await using registry = new SlowRegistry(await packTarballs());
    await using terminal = await startFirstRun(registry);
    const during = await terminal.shows(/Download[^]*echarts\S+\.tgz [1-9][\d.]*MiB/);
    registry.answer();
    const after = await terminal.ended();
    const steady = during.replace(/[▰▱]+ \[\d\d:\d\d\] \d+\/\d+/, "▰▰▱ [00:NN] N/N")
      .replace(/127\.0\.0\.1:\d+/, "127.0.0.1:PORT").replace(
        /tgz [\d.]+MiB\/[\d.]+MiB/,
        "tgz N MiB/N MiB",
      );
    await t.assertSnapshot(`${steady}\n--- then\n${masked(after)}`);
  },
});

Deno.test({
  name: "on a terminal a first run shows which packages it waits for, and then what failed",
  ignore,
  fn: async () => {
    await using registry = new SlowRegistry();
    await using terminal = await startFirstRun(registry);
    await terminal.shows(/Download[^]*127\.0\.0\.1/);
    registry.answer();
    const screen = await terminal.ended();
    assert.match(screen, /^error: .*npm package/m);
    assert.match(screen, /\[exit 1\]$/);
  },
});
