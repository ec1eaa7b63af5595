/** The first run on a machine with nothing in its caches, whose packages come slowly. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { NO_TERMINAL, PseudoTerminal } from "./pseudo_terminal.ts";

if (NO_TERMINAL) console.error(`skipping the first run on a terminal: ${NO_TERMINAL}`);

/** A registry of npm that has no package whole before it may. */
class SlowRegistry implements AsyncDisposable {
  readonly #open = Promise.withResolvers<void>();
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async () => {
      await this.#open.promise;
      return new Response("gone", { status: 404 });
    },
  );

  get address(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/`;
  }

  /** Answers all that wait. */
  answer(): void {
    this.#open.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.answer();
    await this.#server.shutdown();
  }
}

Deno.test({
  name: "on a terminal a first run shows which packages it waits for, and then what failed",
  ignore: NO_TERMINAL !== undefined,
  fn: async () => {
    await using registry = new SlowRegistry();
    await using terminal = await PseudoTerminal.open(`sh "$0" generate "Once upon a time"`, {
      HOME: Deno.makeTempDirSync(),
      DENO_DIR: join(Deno.makeTempDirSync(), "cold"),
      NPM_CONFIG_REGISTRY: registry.address,
    });
    await terminal.shows(/Download[^]*127\.0\.0\.1/);
    registry.answer();
    const screen = await terminal.ended();
    assert.match(screen, /^error: .*npm package/m);
    assert.match(screen, /\[exit 1\]$/);
  },
});
