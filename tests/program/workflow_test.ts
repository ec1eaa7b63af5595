/** The workflow that tests and releases: it is read, and its steps for Linux are run. */

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

Deno.test("the workflow tests on Linux, macOS and Windows, and releases after that only", () => {
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

Deno.test("the workflow takes the pinned Deno, and actions of GitHub and Deno only", () => {
  const used = steps.flatMap(({ uses }) => uses ?? []);
  for (const action of used) assert.match(action, /^(actions|denoland)\/[\w-]+@v\d+$/);
  const denos = steps.filter(({ uses }) => uses?.startsWith("denoland/setup-deno@"));
  assert.ok(denos.length > 0);
  for (const step of denos) assert.equal(step.with!["deno-version"], DENO_VERSION);
});

Deno.test("the workflow names tasks that deno.json has", () => {
  const named = scripts.flatMap((
    script,
  ) => [...script.matchAll(/deno task (?:--quiet )?([\w:]+)/g)]);
  assert.ok(named.length >= 5);
  for (const [, task] of named) assert.ok(task! in denoJson.tasks, task);
});

Deno.test({
  name: "bash reads every script of the workflow",
  ignore: lacks("the scripts of the workflow", "bash"),
  fn: async () => {
    for (const script of scripts) {
      const { code, stderr } = await run("bash", ["-n"], { stdin: script });
      assert.equal(code, 0, `${script}\n${stderr}`);
    }
  },
});

/** Whether a step is for a push to main on Linux; its condition is one of a few. */
function isForLinux({ if: condition }: Step): boolean {
  if (condition === undefined) return true;
  const [, operator, os] = /^runner\.os (==|!=) '(\w+)'$/.exec(condition) ?? [];
  if (os !== undefined) return (os === "Linux") === (operator === "==");
  assert.equal(condition, "startsWith(github.ref, 'refs/tags/v')");
  return false;
}

/** What the steps of a job do on Linux, without those that set a new machine up. */
function linuxScripts(job: string): string[] {
  return workflow.jobs[job]!.steps.filter(isForLinux).flatMap(({ run }) => run ?? [])
    .filter((script) => !script.startsWith("sudo "));
}

const canRun = Deno.build.os === "linux" &&
  ["bash", "node", "npm"].every((program) => which(program) !== undefined);

/** A directory with `deno` in it, as the workflow's set-up leaves one on PATH. */
function directoryOfDeno(): string {
  const directory = Deno.makeTempDirSync();
  const script = `#!/bin/sh\nexec '${Deno.execPath()}' "$@"\n`;
  Deno.writeTextFileSync(join(directory, "deno"), script, { mode: 0o755 });
  return directory;
}

/** Runs a script as GitHub does, with all of the environment; a registry may need it. */
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
        // The tests are running already: one file of them stands for all.
        const { code, stderr } = await runStep(script, { TESTS: "tests/assert_test.ts" });
        const offline = /^error: Cannot compile for \S+: its runtime cannot be downloaded/m;
        if (line.includes("compile") && offline.test(stderr)) return;
        assert.equal(code, 0, stderr);
      },
    });
  }
}

Deno.test({
  name: "what the workflow collects has checksums that are right",
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
