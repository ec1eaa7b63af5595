import assert from "node:assert/strict";
import { join } from "node:path";
import { baseEnv, ROOT } from "./run_tvllm.ts";

/**
 * Starts a program that works until it is stopped, and sends it `signals` one after the other. It
 * ends at the first signal only if it is `polite`.
 */
async function interrupted(signals: readonly Deno.Signal[], polite: boolean) {
  const program = `
    import { Interrupts } from ${JSON.stringify(join(ROOT, "cli/interrupt.ts"))};
    import { exitCodeOf } from ${JSON.stringify(join(ROOT, "cli/exit_codes.ts"))};
    try {
      using interrupts = new Interrupts();
      console.log("working");
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (!interrupts.signal.aborted) continue;
        console.log("stopping");
        if (${polite}) interrupts.signal.throwIfAborted();
        await new Promise((resolve) => setTimeout(resolve, 60_000));
      }
    } catch (error) {
      console.log("statistics");
      Deno.exit(exitCodeOf(error));
    }`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", program],
    env: baseEnv(),
    stdout: "piped",
  }).spawn();
  let output = "";
  const left = [...signals];
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    output += text;
    const next = left.shift();
    if (next !== undefined) child.kill(next);
  }
  return { output, code: (await child.status).code };
}

const ignore = Deno.build.os === "windows";

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  Deno.test({
    name: `the first ${signal} lets the work end cleanly, with exit code ${code}`,
    ignore,
    fn: async () => {
      const result = await interrupted([signal], true);
      assert.deepEqual(result, { output: "working\nstopping\nstatistics\n", code });
    },
  });
  Deno.test({
    name: `the second ${signal} ends the process at once, with exit code ${code}`,
    ignore,
    fn: async () => {
      const result = await interrupted([signal, signal], false);
      assert.deepEqual(result, { output: "working\nstopping\n", code });
    },
  });
}
