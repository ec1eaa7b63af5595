/** Checks the workflow that tests and releases, and runs its steps for Linux. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "yaml";
import denoJson from "../../deno.json" with { type: "json" };
import packageJson from "../../package.json" with { type: "json" };
import { TARGETS } from "../../release/denort.ts";
import { DENO_VERSION } from "../../release/task.ts";
import { exists, lacks, ROOT, run, which } from "./run_tvllm.ts";

interface Step {
  readonly name?: string;
  readonly uses?: string;
  readonly with?: Readonly<Record<string, unknown>>;
  readonly if?: string;
  readonly run?: string;
}

interface Job {
  readonly "runs-on": string;
  readonly needs?: string;
  readonly strategy?: { readonly matrix: Readonly<Record<string, unknown>> };
  readonly steps: readonly Step[];
}

const FILE = join(ROOT, ".github/workflows/ci.yml");
const workflow: { readonly jobs: Readonly<Record<string, Job>> } = parse(
  Deno.readTextFileSync(FILE),
);
const jobs = Object.entries(workflow.jobs);
const steps = jobs.flatMap(([, { steps }]) => steps);
const scripts = steps.flatMap(({ run }) => run ?? []);

Deno.test("the workflow tests on Linux, macOS and Windows, and releases only after that", () => {
  const { test, build, start, release } = workflow.jobs;
  const systems = test!.strategy!.matrix["os"] as string[];
  assert.deepEqual(systems.map((name) => name.split("-")[0]), ["ubuntu", "macos", "windows"]);
  assert.deepEqual([build!.needs, start!.needs, release!.needs], ["test", "build", "start"]);
});

Deno.test("the workflow builds every target, and starts each on its own system", () => {
  const matrix = workflow.jobs["start"]!.strategy!.matrix["include"] as { programs: string }[];
  const started = matrix.flatMap(({ programs }) => programs.split(" "));
  const compiled = Object.keys(TARGETS).map((target) =>
    `tvllm-${target}${target.includes("windows") ? ".exe" : ""}`
  );
  for (const program of compiled) assert.ok(started.includes(program), program);
  for (const machine of ["x86_64", "aarch64"]) {
    assert.ok(started.includes(`tvllm-standalone-${machine}-unknown-linux-gnu`));
  }
  assert.ok(scripts.some((script) => script.includes("deno task compile --target all")));
});

Deno.test("the workflow uses the pinned Deno, and only actions of GitHub and Deno", () => {
  const used = steps.flatMap(({ uses }) => uses ?? []);
  for (const action of used) assert.match(action, /^(actions|denoland)\/[\w-]+@v\d+$/);
  const denos = steps.filter(({ uses }) => uses?.startsWith("denoland/setup-deno@"));
  assert.ok(denos.length > 0);
  for (const step of denos) assert.equal(step.with!["deno-version"], DENO_VERSION);
});

Deno.test("the workflow runs tasks that exist in deno.json", () => {
  const named = scripts.flatMap((
    script,
  ) => [...script.matchAll(/deno task (?:--quiet )?([\w:]+)/g)]);
  assert.ok(named.length >= 5);
  for (const [, task] of named) assert.ok(task! in denoJson.tasks, task);
});

Deno.test({
  name: "bash can parse every script of the workflow",
  ignore: lacks("the scripts of the workflow", "bash"),
  fn: async () => {
    for (const script of scripts) {
      const { code, stderr } = await run("bash", ["-n"], { stdin: script });
      assert.equal(code, 0, `${script}\n${stderr}`);
    }
  },
});

/** Whether a step runs after a push to main on Linux. Asserts that its condition is a known one. */
function isForLinux({ if: condition }: Step): boolean {
  if (condition === undefined) return true;
  const [, operator, os] = /^runner\.os (==|!=) '(\w+)'$/.exec(condition) ?? [];
  if (os !== undefined) return (os === "Linux") === (operator === "==");
  assert.equal(condition, "startsWith(github.ref, 'refs/tags/v')");
  return false;
}

/** The scripts of a job's steps on Linux, without those that set up a new machine. */
function linuxScripts(job: string): string[] {
  return workflow.jobs[job]!.steps.filter(isForLinux).flatMap(({ run }) => run ?? [])
    .filter((script) => !script.startsWith("sudo "));
}

const canRun = Deno.build.os === "linux" &&
  ["bash", "node", "npm"].every((program) => which(program) !== undefined);

/** Creates a directory with `deno`, such as the workflow's setup adds to PATH. */
function directoryOfDeno(): string {
  const directory = Deno.makeTempDirSync();
  const script = `#!/bin/sh\nexec '${Deno.execPath()}' "$@"\n`;
  Deno.writeTextFileSync(join(directory, "deno"), script, { mode: 0o755 });
  return directory;
}

/** Runs a script as GitHub does, with the whole environment, which a registry may need. */
async function runStep(script: string, env: Record<string, string>) {
  const path = `${directoryOfDeno()}:${Deno.env.get("PATH")}`;
  const command = new Deno.Command("bash", {
    args: ["--noprofile", "--norc", "-eo", "pipefail", "-c", script],
    cwd: ROOT,
    env: { NO_COLOR: "1", PATH: path, ...env },
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

for (const job of ["test", "build"]) {
  for (const script of linuxScripts(job)) {
    const [line = ""] = script.split("\n");
    Deno.test({
      name: `the workflow's step of ${job} runs: ${line}`,
      ignore: !canRun,
      fn: async () => {
        // The tests are running already, so only one file of them is run here.
        const { code, stderr } = await runStep(script, { TESTS: "tests/assert_test.ts" });
        const offline = /^error: Cannot compile for \S+: its runtime cannot be downloaded/m;
        if (line.includes("compile") && offline.test(stderr)) return;
        assert.equal(code, 0, stderr);
      },
    });
  }
}

Deno.test({
  name: "the files that the workflow collects have correct checksums",
  ignore: !canRun,
  fn: async () => {
    const directory = join(ROOT, "dist/release");
    const check = "cd dist/release && sha256sum --check --quiet SHA256SUMS";
    const { code, stderr } = await runStep(check, {});
    assert.equal(code, 0, stderr);
    const sums = Deno.readTextFileSync(join(directory, "SHA256SUMS"));
    for (
      const name of [
        ...["tvllm.js", "tvllm.cdx.json", "NOTICES.txt", "LICENSE"],
        `tvllm-${packageJson.version}.tgz`,
        "tvllm-standalone-x86_64-unknown-linux-gnu",
        "tvllm-standalone-aarch64-unknown-linux-gnu",
      ]
    ) {
      assert.ok(exists(join(directory, name)), name);
      assert.ok(sums.includes(`  ${name}\n`), name);
    }
  },
});
