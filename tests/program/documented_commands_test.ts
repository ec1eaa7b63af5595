/** Runs every command of README.md and of the pages in docs/, with tiny models and short requests. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { writeTinyModel } from "../../fixtures/tiny_models.ts";
import { baseEnv, LAUNCHER, ROOT, run, which } from "./run_tvllm.ts";
import { withServer } from "./served.ts";

/** Commands that are not run here, and why. */
const NOT_RUN: readonly (readonly [RegExp, string])[] = [
  [/hf:/, "it needs the hub; tests/hub has one of its own"],
  [/^\.\/tests\/run/, "this is one of those tests"],
  [/deno task (bench:peers|peers:kl)/, "it installs llama.cpp and MLX"],
  [/deno task isa/, "it needs AMD's compiler; tests/isa and isa_test.ts run it if it is there"],
  [/^deno cache .*VERSION/, "it names a future release of Deno"],
  [/ bench all /, "its suites are run one by one"],
  [/ tune /, "tune_test.ts runs it"],
  [/^vllm /, "it is not installed; tests/server/client_forms_test.ts sends its requests"],
  [/^aiperf /, "it is not installed; `deno task test:clients` runs it"],
  [/git worktree|--against/, "it needs two checkouts; ab_test.ts makes them"],
];

function* pagesBelow(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(join(ROOT, folder))) {
    if (isDirectory) yield* pagesBelow(join(folder, name));
    else if (name.endsWith(".md")) yield join(folder, name);
  }
}

/** The commands in a page's code blocks, without comments. */
function commandsOf(page: string): string[] {
  const text = Deno.readTextFileSync(join(ROOT, page));
  return [...text.matchAll(/^```(?:sh|bash|console)\n(.*?)^```/gms)]
    .flatMap(([, block]) => block!.replaceAll(/\\\n */g, " ").split("\n"))
    .map((line) => line.replace(/ +# .*/, "").trim())
    .filter((line) => line !== "");
}

/** The directory in which the commands run, with the files that they name. */
const directory = Deno.makeTempDirSync();
for (const [name, quantization] of [["q4", "Q4_0"], ["q8", "Q8_0"], ["model", "Q4_1"]] as const) {
  Deno.renameSync(
    writeTinyModel(directory, "llama", quantization),
    join(directory, `${name}.gguf`),
  );
}
Deno.writeTextFileSync(
  join(directory, "prompts.jsonl"),
  '{"prompt": "Once"}\n{"prompt": "A king"}\n',
);

/** Replacements that reduce commands from minutes to seconds. */
const SHORTER: readonly (readonly [RegExp, string])[] = [
  [/synth:\S+/g, "model.gguf"],
  [/ bench SUITE /, " bench latency "],
  [/ -- A -- B/, " -- --threads 1 -- --threads 2"],
  [/ -p \d+-\S+/, " -p 8-16*2"],
  [/ -p \d+(?= |$)/, " -p 16"],
  [/ -n \d+,\S+/, " -n 2,4"],
  [/ -n \d+(?= |$)/, " -n 4"],
  [/ -r \d+/, " -r 1"],
  [/ --requests \d+/, " --requests 2"],
  [/ --concurrency \d+[-,]\S+/, " --concurrency 1-2"],
  [/^curl/, "curl -sSf"],
  [/ --baseline cpu/, " --device gpu --baseline cpu"],
  // Other commands read these files at the same time.
  [/ --json (?=(?:a|b|new)\.json)/, " --json new-"],
  [/ baseline\/\$run\.json/, " baseline/$run.new"],
  [/ --depth \S+/, " --depth 0,16"],
  [/ --threads 1,\S+/, " --threads 1"],
  [/ --shape \S+/, " --shape 256x256"],
];

/** Returns a command that runs this checkout's launcher, and takes seconds. */
function prepared(command: string): string {
  let line = command.replaceAll(/(?<![\w/-])(?:\.\/)?tvllm(?= )/g, `sh '${LAUNCHER}'`)
    .replace(/ docs\//, ` ${ROOT}/docs/`);
  for (const [long, short] of SHORTER) line = line.replaceAll(new RegExp(long, "g"), short);
  const missing = (text: string, options: readonly string[]) =>
    options.filter((option) => !text.includes(` ${option.split(" ")[0]} `)).map((option) =>
      ` ${option}`
    ).join("");
  return line.replaceAll(
    /( bench (?!ab|schema)\w[\w-]*)([^>&]*)/g,
    (_, suite, given) =>
      `${suite}${
        missing(`${given} `, ["-p 16", "-n 4", "-r 1", "--warmup 0", "--requests 2"])
      }${given}`,
  ).replace(/( bench ab)/, "$1 --budget 0.5");
}

const pages = ["README.md", ...pagesBelow("docs")].sort();
const commands = [...new Set(pages.flatMap(commandsOf))];
const runs = commands.filter((command) => !NOT_RUN.some(([pattern]) => pattern.test(command)));
/** The address of a server that a command uses. */
const SERVER = /(?:http:\/\/)?(?:localhost|gpu-box):\d+/;
const talksToServer = (command: string) => / serve /.test(command) || SERVER.test(command);

Deno.test("the pages have commands, and each exception applies to one", () => {
  assert.ok(runs.length > 40, `${runs.length} commands`);
  for (const [pattern] of NOT_RUN) {
    assert.ok(commands.some((one) => pattern.test(one)), `${pattern}`);
  }
});

for (const command of commands) {
  const [, reason] = NOT_RUN.find(([pattern]) => pattern.test(command)) ?? [];
  if (reason === undefined) continue;
  console.error(`skipping ${command}: ${reason}`);
  Deno.test({ name: `the documentation's ${command} (${reason})`, ignore: true, fn: () => {} });
}

/** Runs a command. Returns a description of its failure, or undefined if it succeeds. */
async function failureOf(line: string): Promise<string | undefined> {
  const { code, stderr } = await run("sh", ["-c", line], {
    stdin: "A short text.\n",
    cwd: directory,
  });
  return code === 0 ? undefined : `${line}\n${stderr}[exit ${code}]`;
}

/** Runs the commands, two at a time, because each uses one core for most of its time. */
async function failuresOf(lines: readonly string[]): Promise<string[]> {
  const left = new Set(lines).values();
  const failures: string[] = [];
  const work = async () => {
    for (const line of left) failures.push(...[await failureOf(line)].flatMap((one) => one ?? []));
  };
  await Promise.all([work(), work()]);
  return failures;
}

Deno.test("the commands of the documentation run", async () => {
  const local = runs.filter((command) => !talksToServer(command)).map(prepared);
  // Other commands write into the directories that the pages create, so these come first.
  const [directories, others] = [true, false].map((first) =>
    local.filter((line) => line.startsWith("mkdir ") === first)
  ) as [string[], string[]];
  assert.deepEqual(await failuresOf(directories), []);
  const args = "bench latency model.gguf -p 8 -n 3 -r 6 --warmup 0 --json new.json";
  assert.equal(await failureOf(`sh '${LAUNCHER}' ${args}`), undefined);
  for (const name of ["baseline/1.json", "a.json", "b.json"]) {
    Deno.copyFileSync(join(directory, "new.json"), join(directory, name));
  }
  assert.deepEqual(await failuresOf(others), []);
});

Deno.test({
  name: "the commands of the documentation that need a server run",
  ignore: which("curl") === undefined,
  fn: async () => {
    const [[serve], others] = [/ serve /, SERVER].map((kind) =>
      runs.filter((command) => kind.test(command))
    ) as [string[], string[]];
    const args = serve!.replace("./tvllm serve ", "").replace(
      "model.gguf",
      join(directory, "model.gguf"),
    );
    const launcher = { command: "sh", args: [LAUNCHER], env: baseEnv() };
    await withServer(launcher, args.split(" "), async ({ address }) => {
      const lines = others.map((command) => prepared(command.replace(SERVER, address)));
      assert.deepEqual(await failuresOf(lines), []);
    });
  },
});
