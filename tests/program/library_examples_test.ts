/** Checks and runs the examples of the library's comments and of docs/library.md, unchanged. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT } from "./run_tvllm.ts";
import { deno, LIBRARY, makeProject, MODEL, NAME } from "./library_project.ts";

const PAGE = "docs/library.md";

/** The blocks of TypeScript in a page, or in the comments of a module. */
function examplesOf(path: string): string[] {
  const text = Deno.readTextFileSync(join(ROOT, path));
  const lines = path.endsWith(".ts") ? text.replaceAll(/^ *\* ?/gm, "") : text;
  return [...lines.matchAll(/^```ts\n(.*?)^```/gms)].map(([, block]) => block!);
}

/** The modules that the library consists of, relative to the project. */
async function modules(): Promise<string[]> {
  const { stdout } = await deno(ROOT, ["info", "--json", LIBRARY]);
  const { modules } = JSON.parse(stdout) as { modules: { local?: string }[] };
  return modules.flatMap(({ local }) =>
    local?.startsWith(ROOT) && local.endsWith(".ts") ? [local.slice(ROOT.length)] : []
  );
}

/** Creates a project with the file that examples name, and a cache with the hub model they name. */
function makeExampleProject(examples: Readonly<Record<string, string>>) {
  const project = makeProject({
    ...examples,
    "deno.json": JSON.stringify({ imports: { [NAME]: LIBRARY } }),
  });
  Deno.copyFileSync(MODEL, join(project, "model.gguf"));
  const cache = join(project, "cache");
  const repository = join(cache, "models--Qwen--Qwen2.5-0.5B-Instruct-GGUF");
  const commit = "0123456789abcdef0123456789abcdef01234567";
  Deno.mkdirSync(join(repository, "refs"), { recursive: true });
  Deno.writeTextFileSync(join(repository, "refs", "main"), commit);
  Deno.mkdirSync(join(repository, "snapshots", commit), { recursive: true });
  Deno.copyFileSync(
    MODEL,
    join(repository, "snapshots", commit, "qwen2.5-0.5b-instruct-q8_0.gguf"),
  );
  return { project, cache };
}

const examples: Record<string, string> = {};
for (const path of [PAGE, ...await modules()]) {
  for (const [i, code] of examplesOf(path).entries()) {
    examples[`${path.replaceAll("/", "_")}_${i + 1}.ts`] = code;
  }
}
const { project, cache } = makeExampleProject(examples);

Deno.test("the library's comments and its page have examples, all with correct types", async () => {
  const names = Object.keys(examples);
  for (const part of ["docs_library.md", "mod.ts", "engine_mod.ts", "engine_loaded_model.ts"]) {
    assert.ok(names.some((name) => name.startsWith(part)), part);
  }
  const { code, stderr } = await deno(project, ["check", ...names]);
  assert.equal(code, 0, stderr);
});

for (const name of Object.keys(examples)) {
  Deno.test(`the example ${name} runs`, async () => {
    const { code, stdout, stderr } = await deno(
      project,
      ["run", "--no-prompt", "--allow-read", "--allow-env", name],
      { TVLLM_CACHE: cache },
    );
    assert.equal(code, 0, stderr);
    assert.notEqual(stdout.trim(), "");
  });
}
