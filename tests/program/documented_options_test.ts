/** Checks that the documentation names exactly the options of the help. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT, runTvllm } from "./run_tvllm.ts";

/** Matches code that is a command of another program. */
const OTHER_PROGRAM =
  /^(aiperf|deno|docker|node|npm|npx|python3?|vllm|vulkaninfo|bench\/on_device\.sh) /;

/** Long options that only the pages name, and no help, with the reason. */
const OTHERS: Readonly<Record<string, string>> = {
  "--allow-env": "a permission of Deno, for the library",
  "--allow-net": "a permission of Deno, for the library",
  "--allow-read": "a permission of Deno, for the library",
  "--allow-write": "a permission of Deno, for the library",
  "--count": "deno task peers:mutants'",
  "--enable-cache-report": "SGLang's, which makes it report cached tokens",
  "--enable-prompt-tokens-details": "vLLM's, which makes it report cached tokens",
  "--gpus": "docker's, which gives a container the GPU",
  "--iterations": "another name of bench's --repetitions, which the help leaves out",
  "--target": "deno task compile's and standalone's",
};

async function helpOf(...command: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTvllm([...command, "--help"]);
  assert.equal(code, 0, stderr);
  return stdout;
}

/** Every long option, with the commands that have it. */
async function optionsOfHelp(): Promise<Map<string, string[]>> {
  const commands = [...(await helpOf()).matchAll(/^ {2}([a-z]+) /gm)].map((match) => match[1]!);
  const options = new Map<string, string[]>();
  for (const command of [[], ...commands.map((name) => [name]), ["bench", "ab"]]) {
    for (const [, option] of (await helpOf(...command)).matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)) {
      options.set(option!, [...options.get(option!) ?? [], command.join(" ")]);
    }
  }
  return options;
}

function* pagesBelow(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(join(ROOT, folder))) {
    if (isDirectory) yield* pagesBelow(join(folder, name));
    else if (name.endsWith(".md")) yield join(folder, name);
  }
}

/** The pieces of code in a page: the lines of its code blocks, and the text between backticks. */
function codeOf(page: string): string[] {
  const text = Deno.readTextFileSync(join(ROOT, page));
  const pieces: string[] = [];
  const prose = text.replaceAll(/^( *)```\w*\n(.*?)^\1```/gms, (_, _indent, block: string) => {
    pieces.push(...block.replaceAll("\\\n", " ").split("\n"));
    return "";
  });
  for (const [, span] of prose.matchAll(/`([^`]+)`/g)) pieces.push(span!.replaceAll("\n", " "));
  return pieces.map((piece) => piece.trim());
}

/** Every long option in the pages' code, with the pages that name it. */
function optionsOfPages(): Map<string, string[]> {
  const options = new Map<string, string[]>();
  for (const page of ["README.md", ...pagesBelow("docs")]) {
    for (const piece of codeOf(page)) {
      if (OTHER_PROGRAM.test(piece)) continue;
      for (const [option] of piece.matchAll(/(?<![\w-])--[a-z][a-z0-9-]*/g)) {
        options.set(option, [...options.get(option) ?? [], page]);
      }
    }
  }
  return options;
}

Deno.test("every option of the help is in the documentation, and vice versa", async () => {
  const [inHelp, inPages] = [await optionsOfHelp(), optionsOfPages()];
  assert.ok(inHelp.size > 50, `${inHelp.size} options in the help`);
  const undocumented = [...inHelp].filter(([option]) => !inPages.has(option));
  assert.deepEqual(Object.fromEntries(undocumented), {}, "options that no page names");
  const unknown = [...inPages].filter(([option]) => !inHelp.has(option) && !(option in OTHERS));
  assert.deepEqual(Object.fromEntries(unknown), {}, "options that no command has");
});
