/** Other projects import the library by path and by name, and get the command line's tokens. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import denoJson from "../../deno.json" with { type: "json" };
import { ROOT, runTvllm } from "./run_tvllm.ts";
import { deno, LIBRARY, makeProject, MODEL, NAME } from "./library_project.ts";

/** Runs a program as in a user's project: without this configuration, with permission to read. */
const RUN = ["run", "--no-prompt", "--allow-read"];

const program = (specifier: string) =>
  `import { load, type Model } from "${specifier}";
const model: Model = await load(${JSON.stringify(MODEL)}, { device: "cpu" });
const { ids } = await model.complete("Once upon a time", { maxTokens: 12, seed: 7 });
await model.close();
console.log(JSON.stringify(ids));
`;

/** The tokens that the command line generates for the same prompt. */
const expected = runTvllm([
  ...["generate", "Once upon a time", "-n", "12", "--seed", "7", "--device", "cpu", "--json"],
]).then(({ stdout }) => JSON.parse(stdout).tokens);

Deno.test("a program in an empty directory imports the library by its path", async () => {
  const project = makeProject({ "main.ts": program(LIBRARY) });
  const { code, stdout, stderr } = await deno(project, [...RUN, "main.ts"]);
  assert.equal(code, 0, stderr);
  assert.deepEqual(JSON.parse(stdout), await expected);
  // This uses Deno's default compiler options, which differ from this project's.
  const checked = await deno(project, ["check", "main.ts"]);
  assert.equal(checked.code, 0, checked.stderr);
});

Deno.test("a project with a package.json imports the library by its path", async () => {
  const project = makeProject({
    "main.ts": program(LIBRARY),
    "package.json": JSON.stringify({ dependencies: {} }),
    "deno.json": JSON.stringify({ nodeModulesDir: "none" }),
  });
  const { code, stdout, stderr } = await deno(project, [...RUN, "main.ts"]);
  assert.equal(code, 0, stderr);
  assert.deepEqual(JSON.parse(stdout), await expected);
});

Deno.test("a program with access to the environment shows no error of Mesa, and keeps it unchanged", async () => {
  const project = makeProject({
    "main.ts": `import { load } from "${LIBRARY}";
await using model = await load(${JSON.stringify(MODEL)});
console.log(Deno.env.get("XDG_RUNTIME_DIR"));
`,
  });
  const unset = { XDG_RUNTIME_DIR: "" };
  const { code, stdout, stderr } = await deno(project, [...RUN, "--allow-env", "main.ts"], unset);
  assert.equal(code, 0);
  assert.equal(stderr, "");
  assert.equal(stdout, "\n");
});

const CONFIGS = {
  "an import map": { imports: { [NAME]: LIBRARY } },
  "a link in place of the published package": {
    links: [ROOT],
    imports: { [NAME]: `jsr:${NAME}@^${denoJson.version}` },
  },
  "an import map and packages of its own": {
    imports: { [NAME]: LIBRARY, "@huggingface/jinja": "npm:@huggingface/jinja@0.5.11" },
  },
};
for (const [what, config] of Object.entries(CONFIGS)) {
  Deno.test(`a project imports the library by its name, with ${what}`, async () => {
    const project = makeProject({
      "main.ts": program(NAME),
      "deno.json": JSON.stringify(config),
    });
    const { code, stdout, stderr } = await deno(project, [...RUN, "main.ts"]);
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), await expected);
  });
}

Deno.test("the library's imports resolve without its import map", async () => {
  const { stdout } = await deno(ROOT, ["info", "--json", LIBRARY]);
  const { modules } = JSON.parse(stdout) as { modules: Module[] };
  const files = modules.flatMap(({ specifier, dependencies = [] }) =>
    specifier.startsWith("file:")
      ? [{ path: fileURLToPath(specifier), names: dependencies.map((one) => one.specifier) }]
      : []
  );
  assert.ok(files.some(({ path }) => path === LIBRARY) && files.length > 50);
  for (const { path, names } of files) {
    assert.ok(path.startsWith(ROOT), path);
    const bare = names.filter((name) => !/^(\.\.?\/|node:|npm:.+@\d+\.\d+\.\d+$)/.test(name));
    assert.deepEqual(bare, [], `${path} imports by a name that deno.json alone knows`);
  }
});

/** A module in the output of `deno info --json`. */
interface Module {
  readonly specifier: string;
  readonly dependencies?: readonly { readonly specifier: string }[];
}

Deno.test("the package to be published contains the library and has no slow types", async () => {
  const { code, stderr } = await deno(ROOT, ["publish", "--dry-run", "--allow-dirty"]);
  assert.equal(code, 0, stderr);
  for (const file of ["mod.ts", "engine/mod.ts", "kernels/matmul.wgsl"]) {
    assert.match(stderr, new RegExp(`${join(ROOT, file)} `));
  }
  assert.doesNotMatch(stderr, /\/(tests|cli|fixtures)\//);
});

Deno.test("every export of the library is documented, and every type that it names is exported", async () => {
  const { code, stderr } = await deno(ROOT, ["doc", "--lint", "mod.ts"]);
  assert.equal(code, 0, stderr);
});
