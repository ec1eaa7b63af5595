/** The options `--chat-template` and `--chat-template-file`. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { runTvllm } from "./run_tvllm.ts";

const OPTIONS = ["-n", "4", "--temp", "0", "-q", "--json", "--device", "cpu"];

async function generate(...args: readonly string[]) {
  const { code, stdout, stderr } = await runTvllm(["generate", ...args, ...OPTIONS]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

async function refused(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runTvllm(["generate", "Hello", ...args, ...OPTIONS]);
  assert.equal(code, 2, stderr);
  assert.equal(stdout, "");
  assert.match(stderr, /^error: [^\n]+\n$/);
  return stderr;
}

Deno.test("--chat-template accepts Jinja text, and the model reads what it renders", async () => {
  const template = "{{ 'A king and ' + messages[0].content }}";
  const templated = await generate("a queen", "--chat-template", template);
  const written = await generate("A king and a queen", "--raw");
  assert.equal(templated.prompt_tokens, written.prompt_tokens);
  assert.deepEqual(templated.tokens, written.tokens);
});

Deno.test("--chat-template-file reads a template, which includes the system message", async () => {
  const file = join(Deno.makeTempDirSync(), "template.jinja");
  Deno.writeTextFileSync(
    file,
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
  );
  const templated = await generate("a queen", "-s", "Be brief", "--chat-template-file", file);
  const written = await generate("system: Be brief\nuser: a queen\n", "--raw");
  assert.deepEqual(templated.tokens, written.tokens);
});

Deno.test("--chat-template accepts the names of known templates", async () => {
  const named = await generate("Hi", "--chat-template", "chatml");
  const written = await generate(
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "--raw",
  );
  // The built-in model has no such control tokens: they are text in both.
  assert.deepEqual(named.tokens, written.tokens);
});

Deno.test("a chat template that cannot be used is refused before the model is loaded", async () => {
  assert.match(
    await refused("--chat-template", "mistral"),
    /'mistral': it is neither one of chatml, /,
  );
  assert.match(await refused("--chat-template", "{% if %}"), /Cannot render the chat template: /);
  assert.match(
    await refused("--chat-template-file", "/no/such"),
    /Cannot read the text file \/no\/such: /,
  );
  assert.match(
    await refused("--chat-template", "chatml", "--chat-template-file", "f"),
    /Cannot use both --chat-template and --chat-template-file/,
  );
  assert.match(
    await refused("--chat-template", "chatml", "--raw"),
    /Cannot use a chat template with a raw prompt/,
  );
});
