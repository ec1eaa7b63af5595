import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT, run, type RunResult } from "./run_tvllm.ts";

/** Composes a prompt in a separate process, which prints it as JSON. */
async function compose(sources: object, stdin: string | Uint8Array): Promise<RunResult> {
  const program = `
    import { composePrompt } from ${JSON.stringify(join(ROOT, "cli/prompt_input.ts"))};
    import { Terminal } from ${JSON.stringify(join(ROOT, "cli/terminal.ts"))};
    const prompt = await composePrompt(JSON.parse(Deno.args[0]), new Terminal({}));
    console.log(JSON.stringify(prompt ?? null));`;
  return await run(Deno.execPath(), ["eval", program, JSON.stringify(sources)], { stdin });
}

Deno.test("composePrompt() puts stdin first, then the file, then the prompt", async () => {
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, "from a file\r\n");
  for (
    const [sources, stdin, expected] of [
      [{ argument: "a prompt", file }, "piped\n\n", "piped\n\nfrom a file\na prompt"],
      [{ prompt: "a prompt" }, "piped", "piped\na prompt"],
      [{ argument: "-", prompt: "p" }, "piped", "piped\np"],
      [{ argument: "a prompt" }, "", "a prompt"],
      [{ argument: "" }, "", ""],
      [{ argument: "-" }, "", ""],
      [{ file: "-", prompt: "p" }, "piped\n", "piped\np"],
      [{}, "\ufeff naïve 🎉", " naïve 🎉"],
      [{ argument: "a\\tb\\n", escape: true }, "c\\n", "c\\n\na\tb\n"],
      [{}, "", null],
    ] as const
  ) {
    const { stdout, stderr } = await compose(sources, stdin);
    assert.equal(stderr, "");
    assert.deepEqual(JSON.parse(stdout), expected);
  }
});

Deno.test("composePrompt() refuses a prompt given twice, a missing file and other encodings", async () => {
  for (
    const [sources, stdin, message] of [
      [{ argument: "a", prompt: "b" }, "", /both --prompt and a prompt as argument/],
      [
        { file: "/no/such/file" },
        "",
        /Cannot read the text file \/no\/such\/file: there is no such file; check the path/,
      ],
      [{ file: "/" }, "", /Cannot read the text file \/: it is a directory; name a file in it/],
      [{}, new Uint8Array([0x68, 0xe9]), /standard input: byte 1 \(0xe9\) is not UTF-8/],
    ] as const
  ) {
    const { code, stderr } = await compose(sources, stdin);
    assert.equal(code, 1);
    assert.match(stderr, message);
  }
});
