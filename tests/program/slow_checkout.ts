/** A fake checkout to compare with, which is slower than this one. */

import { join } from "node:path";

/** Creates a checkout whose library repeats the tokens of each prompt, one every 20 ms. */
export function slowCheckout(): string {
  const directory = Deno.makeTempDirSync();
  Deno.writeTextFileSync(join(directory, "deno.json"), `{ "version": "0.0.7" }`);
  Deno.writeTextFileSync(
    join(directory, "mod.ts"),
    `const engine = {
      async *submit({ promptIds, maxTokens }) {
        for (let i = 0; i < maxTokens; i++) {
          await new Promise((resolve) => setTimeout(resolve, 20));
          yield { id: promptIds[i % promptIds.length] };
        }
      },
    };
    export async function load(path, options) {
      if (options.threads === 3) throw new Error("there are no three threads");
      return {
        device: { kind: "cpu", driver: "software", description: "fake", detail: "5 threads" },
        contextLength: 100,
        withEngine: (_, use) => use(engine),
        [Symbol.asyncDispose]: async () => {},
      };
    }`,
  );
  return directory;
}
