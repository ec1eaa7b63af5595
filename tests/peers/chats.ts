/**
 * Compares chats rendered by tvllm with those rendered by Python's jinja2, for all templates in
 * llama.cpp's models/templates: `deno task peers:chats [TEMPLATES]`. pip downloads jinja2 and
 * llama.cpp's source, which is part of llama-cpp-python, into .cache/peers on first use. Prints the
 * differences and a count. The exit code is 1 if anything differs.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RequestError } from "../../engine/errors.ts";
import { type ChatMessage, renderChat } from "../../engine/text/chat_template.ts";
import { PEERS } from "./peer.ts";

const SOURCE = "llama_cpp_python-0.3.36";
const VENV = join(PEERS, "jinja");
const PYTHON = join(VENV, "bin/python");
const TEMPLATES = join(PEERS, SOURCE, "vendor/llama.cpp/models/templates");
/** The date that render_chats.py uses too. */
const NOW = new Date(2025, 2, 4, 15, 6, 7);

const user = { role: "user", content: "What is 2 + 2? " };
const system = { role: "system", content: "Be brief.\nBe kind." };
const assistant = { role: "assistant", content: "  Four.\n\nOr <b>4</b>." };
const again = { role: "user", content: "\nAnd 3 + 3?" };

const CHATS: readonly (readonly ChatMessage[])[] = [
  [user],
  [system, user],
  [system, user, assistant, again],
];

async function run(program: string, args: readonly string[], input = ""): Promise<string> {
  const child = new Deno.Command(program, {
    args: [...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  await new Blob([input]).stream().pipeTo(child.stdin);
  const { success, stdout } = await child.output();
  if (!success) throw new Error(`Cannot compare with jinja2: ${program} ${args[0]} failed`);
  return new TextDecoder().decode(stdout);
}

async function install(): Promise<void> {
  if (!existsSync(PYTHON)) {
    console.error("Downloading jinja2 from PyPI (first run only)");
    await run("python3", ["-m", "venv", VENV]);
    await run(PYTHON, ["-m", "pip", "install", "--quiet", "jinja2==3.1.6"]);
  }
  if (existsSync(TEMPLATES)) return;
  console.error("Downloading the source of llama.cpp from PyPI (77 MB, first run only)");
  const [name, version] = SOURCE.replaceAll("_", "-").split(/-(?=\d)/);
  const options = ["--quiet", "--no-deps", "--no-binary", name!, "--dest", PEERS];
  await run(PYTHON, ["-m", "pip", "download", ...options, `${name}==${version}`]);
  const archive = join(PEERS, `${SOURCE}.tar.gz`);
  await run("tar", ["-xzf", archive, "-C", PEERS, `${SOURCE}/vendor/llama.cpp/models/templates`]);
}

/** The result of rendering a chat: a text or an error. */
type Rendered = string | { readonly error: string };

function render(template: string, messages: readonly ChatMessage[]): Rendered {
  try {
    return renderChat(template, messages, { bosToken: "<BOS>", eosToken: "<EOS>", now: NOW });
  } catch (error) {
    const { message } = error as Error;
    return { error: error instanceof RequestError ? `TemplateError: ${message}` : message };
  }
}

/** Whether both texts are equal, or both are errors that agree on being a raise_exception. */
function agree(ours: Rendered, theirs: Rendered): boolean {
  if (typeof ours === "string" || typeof theirs === "string") return ours === theirs;
  const [own, other] = [ours, theirs].map(({ error }) => error.startsWith("TemplateError: "));
  return own === other;
}

function difference(ours: Rendered, theirs: Rendered): string {
  if (typeof ours !== "string" || typeof theirs !== "string") {
    return JSON.stringify({ ours, theirs }).slice(0, 400);
  }
  let at = 0;
  while (ours[at] === theirs[at]) at++;
  const part = (text: string) => text.slice(Math.max(0, at - 30), at + 60);
  return JSON.stringify({ at, ours: part(ours), theirs: part(theirs) });
}

if (!Deno.args[0]) await install();
const directory = Deno.args[0] ?? TEMPLATES;
const program = fileURLToPath(new URL("render_chats.py", import.meta.url));
const python = existsSync(PYTHON) ? PYTHON : "python3";
const theirs = JSON.parse(await run(python, [program, directory], JSON.stringify(CHATS)));
let same = 0;
let failed = 0;
let count = 0;
for (const [name, texts] of Object.entries<Rendered[]>(theirs)) {
  const template = await Deno.readTextFile(join(directory, name));
  for (const [i, text] of texts.entries()) {
    const own = render(template, CHATS[i]!);
    count++;
    if (typeof text !== "string") failed++;
    if (agree(own, text)) same++;
    else console.log(`${name}, chat ${i + 1}: ${difference(own, text)}`);
  }
}
console.log(
  `${same} of ${count} chats are rendered as jinja2 renders them; ` +
    `${failed} of these are errors there and here, by templates that want tools or no system message`,
);
if (same < count) Deno.exitCode = 1;
