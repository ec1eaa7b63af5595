import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { exists, lacks, ROOT, run, symlink, which } from "./run_tvllm.ts";

/** Stands in for tvllm. Prints its arguments, its input and its permissions. */
const FAKE_MAIN = `
const granted = [];
for (const name of ["read", "write", "net", "run", "ffi", "sys", "env", "import"]) {
  if (Deno.permissions.querySync({ name }).state === "granted") granted.push(name);
}
for (const [what, variable] of [["cache", "TVLLM_CACHE"], ["chats", "TVLLM_DATA"]]) {
  const place = { name: "write", path: Deno.env.get(variable) };
  if (place.path && !granted.includes("write") && Deno.permissions.querySync(place).state === "granted") {
    granted.push("write the " + what);
  }
}
const env = ["TVLLM_MODEL", "NO_COLOR", "FORCE_COLOR", "TERM", "DENO_WEBGPU_BACKEND", "HOME",
  "SECRET"].filter((name) => Deno.env.get(name) !== undefined);
const stdin = await new Response(Deno.stdin.readable).text();
console.log(JSON.stringify({ args: Deno.args, granted, env, stdin }));
`;

/** The files of the launchers. */
const FILES = [
  ...["tvllm", "package.json", "cli/describe_host.sh", "cli/find_deno.sh", "cli/launch.sh"],
  ...["cli/launcher.mjs", "cli/permissions.mjs", "cli/permissions.txt"],
];

/** A project with the launchers and FAKE_MAIN, and folders for programs and caches beside it. */
interface Sandbox {
  readonly folder: string;
  readonly launcher: string;
  readonly bin: string;
  readonly home: string;
}

/** Creates a sandbox whose paths contain spaces, quotes and non-ASCII letters. */
function makeSandbox(): Sandbox {
  const folder = Deno.makeTempDirSync({ prefix: "it's a naïve name " });
  const [root, bin, home] = ["the project", "some programs", "a home"].map((name) => {
    const path = join(folder, name);
    Deno.mkdirSync(path);
    return path;
  }) as [string, string, string];
  Deno.mkdirSync(join(root, "cli"));
  for (const file of FILES) {
    Deno.copyFileSync(join(ROOT, file), join(root, file));
  }
  Deno.writeTextFileSync(join(root, "cli/main.ts"), FAKE_MAIN);
  // The few programs that the launcher uses, without Deno and npx.
  for (const name of ["dirname", "readlink", "tail", "mkdir", "chmod", "ln", "mv", "cat"]) {
    symlink(which(name)!, join(bin, name));
  }
  return { folder, launcher: join(root, "tvllm"), bin, home };
}

function program({ bin }: Sandbox, name: string, script: string): void {
  Deno.writeTextFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

/** Adds an npx that returns Deno if its arguments are correct, and records each call. */
function fakeNpx(sandbox: Sandbox): void {
  program(
    sandbox,
    "npx",
    `cat >/dev/null
    echo "$*" >>"${sandbox.home}/npx calls"
    case "$*" in
      "--yes --prefer-offline deno@"*" eval console.log(Deno.execPath())")
        echo "npm notice about something"
        echo "${Deno.execPath()}" ;;
      *) exit 1 ;;
    esac`,
  );
}

/** Runs the launcher for Node.js with only the sandbox's programs on PATH. */
function launchOnNode(
  { launcher, bin, home, folder }: Sandbox,
  args: readonly string[],
  { runtime = "deno", stdin = "" }: { runtime?: "deno" | "node"; stdin?: string } = {},
) {
  const script = join(dirname(launcher), "cli/launcher.mjs");
  const command = runtime === "node" ? [script] : ["run", "-A", "--no-config", script];
  const program = runtime === "node" ? which("node")! : Deno.execPath();
  return run(program, [...command, ...args], {
    cwd: folder,
    stdin,
    env: {
      PATH: `${bin}:${dirname(which("sh")!)}`,
      HOME: home,
      XDG_CACHE_HOME: "",
      DENO_DIR: join(home, "deno"),
    },
  });
}

function npxCalls({ home }: Sandbox): number {
  const calls = join(home, "npx calls");
  return exists(calls) ? Deno.readTextFileSync(calls).trimEnd().split("\n").length : 0;
}

/** Runs the launcher with only the sandbox's programs on PATH. */
function launch(
  { launcher, bin, home, folder }: Sandbox,
  args: readonly string[],
  options: { shell?: readonly string[]; env?: Record<string, string>; stdin?: string } = {},
) {
  const [shell, ...shellArgs] = options.shell ?? ["sh"];
  return run(which(shell!)!, [...shellArgs, launcher, ...args], {
    cwd: folder,
    stdin: options.stdin ?? "",
    env: {
      PATH: bin,
      HOME: home,
      XDG_CACHE_HOME: "",
      DENO_DIR: join(home, "deno"),
      ...options.env,
    },
  });
}

const posix = { ignore: Deno.build.os === "windows" };

for (const shell of [["sh"], ["dash"], ["bash", "--posix"], ["busybox", "sh"]]) {
  const name = shell.join(" ");
  Deno.test({
    name: `the launcher under ${name} passes arguments and input on unchanged`,
    ignore: lacks(`the launcher under ${name}`, shell[0]!),
    fn: async () => {
      const sandbox = makeSandbox();
      symlink(Deno.execPath(), join(sandbox.bin, "deno"));
      const args = ["generate", "two  words", "", "$HOME *", "'\"\\", "--", "-x\n"];
      const { code, stdout, stderr } = await launch(sandbox, args, { shell, stdin: "the prompt" });
      assert.equal(stderr, "");
      assert.equal(code, 0);
      const seen = JSON.parse(stdout);
      assert.deepEqual(seen.args, args);
      assert.equal(seen.stdin, "the prompt");
    },
  });
}

Deno.test({
  name: "the launcher works through symbolic links, also relative ones",
  ...posix,
  fn: async () => {
    const sandbox = makeSandbox();
    symlink(Deno.execPath(), join(sandbox.bin, "deno"));
    symlink("../the project/tvllm", join(sandbox.bin, "first link"));
    symlink(join(sandbox.bin, "first link"), join(sandbox.home, "second link"));
    const launcher = join(sandbox.home, "second link");
    const { code, stdout } = await launch({ ...sandbox, launcher }, ["list"]);
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout).args, ["list"]);
  },
});

for (
  const [args, more] of [
    [[], []],
    [["generate", "pull"], ["write the chats"]],
    [["tokenize"], []],
    [["inspect"], []],
    [["perplexity"], []],
    [["devices"], []],
    [["--color", "pull", "generate"], ["write the chats"]],
    [["-q", "pull"], ["net", "write the cache"]],
    [["bench", "latency"], ["write"]],
    [["rm"], ["write the cache"]],
    [["list"], []],
    [["synth"], ["write"]],
    [["inspect", "-m", "synth:tiny-llama"], ["write the cache"]],
    [["bench", "latency", "synth:tiny-llama"], ["write"]],
    [["generate", "-m", "hf:a/b"], ["net", "write the cache", "write the chats"]],
    [["generate", "-mhf:a/b"], ["net", "write the cache", "write the chats"]],
    [["tokenize", "--model=hf.co/a/b"], ["net", "write the cache"]],
    [["bench", "latency", "hf:a/b"], ["net", "write"]],
    [["rm", "hf:a/b"], ["write the cache"]],
  ] as const
) {
  Deno.test({
    name: `tvllm ${args.join(" ")} may only read${more.map((name) => ` and ${name}`).join("")}`,
    ...posix,
    fn: async () => {
      const sandbox = makeSandbox();
      symlink(Deno.execPath(), join(sandbox.bin, "deno"));
      const env = { TVLLM_MODEL: "m", TERM: "t", SECRET: "s", DENO_WEBGPU_BACKEND: "gl" };
      const { stdout } = await launch(sandbox, args, { env });
      const seen = JSON.parse(stdout);
      assert.deepEqual(seen.granted.sort(), [...more, "read"].sort());
      // The hub's login may be saved in the home directory.
      const home = seen.granted.includes("net") ? ["HOME"] : [];
      assert.deepEqual(seen.env, ["TVLLM_MODEL", "TERM", "DENO_WEBGPU_BACKEND", ...home]);
    },
  });
}

for (
  const [deno, found] of [
    ["echo deno 1.46.3 x", "too old"],
    ["echo deno 2.8.9 x", "too old"],
    ["echo not a version", "no Deno"],
    ["exit 1", "broken"],
    [undefined, "absent"],
  ] as const
) {
  Deno.test({
    name: `if deno on PATH is ${found}, npx is called once and its Deno is remembered`,
    ...posix,
    fn: async () => {
      const sandbox = makeSandbox();
      fakeNpx(sandbox);
      if (deno !== undefined) program(sandbox, "deno", deno);
      const first = await launch(sandbox, ["list"], { stdin: "the prompt" });
      assert.equal(first.code, 0);
      assert.match(first.stderr, /^Downloading deno@\d+\.\d+\.\d+ from npm, once\n$/);
      assert.equal(JSON.parse(first.stdout).stdin, "the prompt");
      const second = await launch(sandbox, ["list"]);
      assert.equal(second.code, 0);
      assert.equal(second.stderr, "");
      assert.equal(npxCalls(sandbox), 1);
    },
  });
}

Deno.test({
  name: "npx is called again if the remembered Deno is gone",
  ...posix,
  fn: async () => {
    const sandbox = makeSandbox();
    fakeNpx(sandbox);
    await launch(sandbox, ["list"]);
    const cache = join(sandbox.home, ".cache/tvllm");
    const [link] = [...Deno.readDirSync(cache)].filter((entry) => entry.isSymlink);
    Deno.removeSync(join(cache, link!.name));
    symlink("/no/such/deno", join(cache, link!.name));
    assert.equal((await launch(sandbox, ["list"])).code, 0);
    assert.equal(npxCalls(sandbox), 2);
  },
});

Deno.test({
  name: "without a writable home directory, the launcher works and remembers nothing",
  ...posix,
  fn: async () => {
    const sandbox = makeSandbox();
    fakeNpx(sandbox);
    for (const env of [{ HOME: "" }, { XDG_CACHE_HOME: "/dev/null" }]) {
      assert.equal((await launch(sandbox, ["list"], { env })).code, 0);
    }
    assert.equal(npxCalls(sandbox), 2);
  },
});

Deno.test({
  name: "with neither Deno nor npx, or an npx that fails, one line says what to do",
  ...posix,
  fn: async () => {
    const sandbox = makeSandbox();
    const without = await launch(sandbox, ["list"]);
    assert.equal(without.code, 1);
    assert.equal(without.stdout, "");
    assert.match(without.stderr, /^error: Cannot find Deno 2\.9 or newer, nor npx .*\n$/);
    program(sandbox, "npx", "echo npm error: no network >&2; exit 1");
    program(sandbox, "deno", "echo deno 1.0.0");
    const offline = await launch(sandbox, ["list"]);
    assert.equal(offline.code, 1);
    assert.match(
      offline.stderr,
      /\nnpm error: no network\nerror: Cannot download deno@[\d.]+ from npm.*\n$/,
    );
  },
});

Deno.test({
  name: "if npm cannot create its cache, it gets another; if it cannot write, an error says so",
  ...posix,
  fn: async () => {
    const sandbox = makeSandbox();
    symlink(which("id")!, join(sandbox.bin, "id"));
    program(sandbox, "npx", `echo "the cache is $npm_config_cache" >&2; exit 1`);
    const env = { HOME: join(sandbox.launcher, "no home"), TMPDIR: sandbox.folder };
    const homeless = await launch(sandbox, ["list"], { env });
    assert.match(homeless.stderr, /\nthe cache is \/.*\/tvllm-npm-\d+\nerror: .*the network/);
    const given = { ...env, npm_config_cache: join(sandbox.folder, "given") };
    assert.match((await launch(sandbox, ["list"], { env: given })).stderr, /cache is .*\/given\n/);
    program(sandbox, "npx", "echo npm error code EROFS >&2; exit 1");
    const { stderr } = await launch(sandbox, ["list"]);
    assert.match(
      stderr,
      /\nerror: Cannot download deno@[\d.]+ from npm: let npm write its cache .*\n$/,
    );
  },
});

for (const runtime of ["deno", "node"] as const) {
  // Deno has all interfaces of Node.js that the launcher uses, so Deno can test it without Node.js.
  const onRuntime = {
    ignore: posix.ignore || (runtime === "node" && lacks("the launcher for Node.js", "node")),
  };

  Deno.test({
    name: `launcher.mjs on ${runtime} passes arguments, input and the exit code on unchanged`,
    ...onRuntime,
    fn: async () => {
      const sandbox = makeSandbox();
      symlink(Deno.execPath(), join(sandbox.bin, "deno"));
      const args = ["generate", "two  words", "", "$HOME *", "'\"\\", "--", "-x\n"];
      const options = { runtime, stdin: "the prompt" };
      const { code, stdout, stderr } = await launchOnNode(sandbox, args, options);
      assert.equal(code, 0, stderr);
      const seen = JSON.parse(stdout);
      assert.deepEqual(seen.args, args);
      assert.equal(seen.stdin, "the prompt");
      assert.deepEqual(seen.granted, ["read", "write the chats"]);
      const main = join(dirname(sandbox.launcher), "cli/main.ts");
      Deno.writeTextFileSync(main, "Deno.exit(42);");
      assert.equal((await launchOnNode(sandbox, ["list"], { runtime })).code, 42);
      // A signal that ends tvllm ends the launcher in the same way.
      Deno.writeTextFileSync(main, "setTimeout(() => {}, 60_000); console.log('ready');");
      const script = `"$@" >"$0" & launcher=$!
        until [ -s "$0" ]; do sleep 0.05; done; kill -TERM $launcher; wait $launcher; echo $?`;
      const command = runtime === "node" ? [which("node")!] : [Deno.execPath(), "run", "-A"];
      const launcher = join(dirname(sandbox.launcher), "cli/launcher.mjs");
      const log = join(sandbox.home, "log");
      const killed = await run("sh", ["-c", script, log, ...command, launcher, "list"], {
        env: { PATH: `${sandbox.bin}:${Deno.env.get("PATH")}`, HOME: sandbox.home },
      });
      assert.equal(killed.stdout, "143\n", killed.stderr);
    },
  });

  Deno.test({
    name: `launcher.mjs on ${runtime} calls npx in a checkout, and says what to do if it fails`,
    ...onRuntime,
    fn: async () => {
      const sandbox = makeSandbox();
      fakeNpx(sandbox);
      const found = await launchOnNode(sandbox, ["list"], { runtime });
      assert.equal(found.code, 0, found.stderr);
      assert.deepEqual(JSON.parse(found.stdout).args, ["list"]);
      program(sandbox, "npx", "echo npm error: no network >&2; exit 1");
      const offline = await launchOnNode(sandbox, ["list"], { runtime });
      assert.equal(offline.code, 1);
      assert.match(offline.stderr, /^npm error: no network\nerror: Cannot find Deno 2\.9 .*\n$/);
    },
  });
}

for (const launcher of ["tvllm", "cli/launcher.mjs"]) {
  Deno.test({
    name: `${launcher} task runs the project's tasks from any directory, without deno on PATH`,
    ...posix,
    fn: async () => {
      const sandbox = makeSandbox();
      fakeNpx(sandbox);
      const root = dirname(sandbox.launcher);
      const tasks = { where: "pwd", version: "deno --version", args: "echo" };
      Deno.writeTextFileSync(join(root, "deno.json"), JSON.stringify({ tasks }));
      const task = async (...args: string[]) => {
        const result = launcher === "tvllm"
          ? await launch(sandbox, ["task", ...args])
          : await launchOnNode(sandbox, ["task", ...args]);
        assert.equal(result.code, 0, result.stderr);
        return result.stdout.trimEnd();
      };
      assert.equal(await task("where"), Deno.realPathSync(root));
      assert.match(await task("version"), new RegExp(`^deno ${Deno.version.deno} `));
      assert.equal(await task("args", "two  words", "$HOME"), "two  words $HOME");
    },
  });
}
