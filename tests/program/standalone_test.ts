/** `deno task standalone` creates one file that runs on a Linux system with nothing installed. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { checkoutCommit } from "../../cli/commit.ts";
import denoJson from "../../deno.json" with { type: "json" };
import { executableKind } from "../../release/denort.ts";
import { HEADER_BYTES } from "../../release/standalone.ts";
import { lacks, ROOT, run, type RunResult, which } from "./run_tvllm.ts";
import { complete, withServer } from "./served.ts";
import { openHubBehindProxy } from "./tls_proxy.ts";

const HOST = Deno.build.target;
const MACHINES: Readonly<Record<string, string>> = {
  "x86_64-unknown-linux-gnu": "ELF for x86-64",
  "aarch64-unknown-linux-gnu": "ELF for arm64",
};
/** On other systems the file can be made, but not run. */
const linux = { ignore: !(HOST in MACHINES) };

// The whole environment is passed on because it may configure how the registry is reached.
const made = await new Deno.Command(Deno.execPath(), { args: ["task", "standalone"], cwd: ROOT })
  .output();

const fileFor = (target: string) => join(ROOT, `dist/tvllm-standalone-${target}`);
const FILE = fileFor(HOST);

/** Runs a standalone file with only these variables, in an empty directory. */
function start(
  args: readonly string[],
  options: { file?: string; env?: Record<string, string>; cwd?: string; limit?: string } = {},
): Promise<RunResult> {
  const { file = FILE, env = {}, cwd = Deno.makeTempDirSync(), limit = ":" } = options;
  const script = `${limit}; exec "$0" "$@"`;
  return run(which("sh")!, ["-c", script, file, ...args], {
    cwd,
    // `run` passes these variables on for other tests, so they are emptied here.
    env: { PATH: "", HOME: "", XDG_CACHE_HOME: "", XDG_RUNTIME_DIR: "", DENO_DIR: "", ...env },
  });
}

/** The cache that the file is unpacked into. */
const cache = Deno.makeTempDirSync();

function placeIn(cache: string): string {
  const [entry] = [...Deno.readDirSync(join(cache, "tvllm"))].filter(({ name }) =>
    name.startsWith("standalone-")
  );
  return join(cache, "tvllm", entry!.name);
}

Deno.test("deno task standalone makes an executable of at most 60 MB for each machine", () => {
  assert.equal(made.code, 0, new TextDecoder().decode(made.stderr));
  const lines = new TextDecoder().decode(made.stdout).trimEnd().split("\n");
  assert.equal(lines.length, Object.keys(MACHINES).length);
  for (const [i, target] of Object.keys(MACHINES).entries()) {
    assert.match(lines[i]!, new RegExp(`tvllm-standalone-${target}: [\\d.]+ MB: Deno [\\d.]+ and`));
    const { size, mode } = Deno.statSync(fileFor(target));
    assert.ok(size <= 60e6, `${size} bytes`);
    assert.equal(mode! & 0o111, 0o111);
  }
});

for (const [target, kind] of Object.entries(MACHINES)) {
  Deno.test(`the file for ${target} contains Deno for this machine`, () => {
    const bytes = Deno.readFileSync(fileFor(target));
    const script = new TextDecoder().decode(bytes.subarray(0, HEADER_BYTES));
    const packed = Number(/head -c (\d+)/.exec(script)![1]);
    assert.equal(
      executableKind(gunzipSync(bytes.subarray(HEADER_BYTES, HEADER_BYTES + packed))),
      kind,
    );
    assert.doesNotMatch(script, /@[A-Z_]+@/);
  });
}

Deno.test({
  name: "the standalone file needs no home and no PATH, and generates the checkout's text",
  ...linux,
  fn: async () => {
    const cwd = Deno.makeTempDirSync({ prefix: "it's an empty directory " });
    const args = ["generate", "Once upon a time", "-n", "12", "--seed", "1", "--device", "cpu"];
    const TMPDIR = Deno.makeTempDirSync();
    const first = await start(args, { cwd, env: { TMPDIR } });
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stderr, /^Unpacking tvllm into \S+, once\n/);
    assert.equal(first.stdout, (await run("sh", [join(ROOT, "tvllm"), ...args])).stdout);
    const [directory] = [...Deno.readDirSync(TMPDIR)];
    assert.equal(Deno.statSync(join(TMPDIR, directory!.name)).mode! & 0o777, 0o700);
    const second = await start(["--version"], { cwd, env: { TMPDIR } });
    assert.equal(second.stderr, "");
    assert.match(second.stdout, new RegExp(`^tvllm ${denoJson.version} \\(Deno `));
    assert.deepEqual([...Deno.readDirSync(cwd)], []);
  },
});

Deno.test({
  name: "standalone files that start at once unpack once",
  ...linux,
  fn: async () => {
    const env = { XDG_CACHE_HOME: cache };
    const runs = await Promise.all([1, 2, 3].map(() => start(["--version"], { env })));
    for (const { code, stdout, stderr } of runs) {
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^tvllm /);
    }
    const said = runs.map(({ stderr }) => stderr).join("");
    assert.equal(said.match(/^Unpacking /gm)?.length, 1, said);
    const names = [...Deno.readDirSync(placeIn(cache))].map(({ name }) => name).sort();
    assert.deepEqual(names.filter((name) => !name.endsWith(".js")), ["cache", "deno"]);
    assert.ok(names.includes("main.js"));
  },
});

Deno.test({
  name: "once unpacked, the standalone file starts nothing but wc and Deno",
  ...linux,
  fn: async () => {
    const bin = Deno.makeTempDirSync();
    const log = join(bin, "log");
    for (const name of ["wc", "gzip", "tail", "head", "sha256sum", "mkdir", "mv", "rm"]) {
      const script = `#!/bin/sh\necho ${name} >>'${log}'\nexec ${which(name)} "$@"\n`;
      Deno.writeTextFileSync(join(bin, name), script, { mode: 0o755 });
    }
    const env = { XDG_CACHE_HOME: cache, XDG_RUNTIME_DIR: bin, PATH: bin };
    const { code, stderr } = await start(["--version"], { env });
    assert.equal(code, 0, stderr);
    assert.equal(Deno.readTextFileSync(log), "wc\n");
  },
});

Deno.test({
  name: "the standalone file measures, draws charts, and lists devices",
  ...linux,
  fn: async () => {
    const cwd = Deno.makeTempDirSync();
    const args = "bench latency -p 16 -n 4 -r 1 --warmup 0 --json -".split(" ");
    const env = { XDG_CACHE_HOME: cache };
    const bench = await start([...args, "--chart", "chart.png"], { cwd, env });
    assert.equal(bench.code, 0, bench.stderr);
    const { complete, environment: { host, engine } } = JSON.parse(bench.stdout);
    assert.equal(complete, true);
    const { stdout: cpuinfo } = await run("sh", ["-c", "cat /proc/cpuinfo"]);
    const processor = /^model name\s*: (.*)$/m.exec(cpuinfo);
    assert.equal(host.processor, processor?.[1] ?? "unknown");
    assert.match(engine.commit, /^([0-9a-f]{12}(-dirty|-unchecked)?|unknown)$/);
    assert.equal(engine.commit.slice(0, 12), checkoutCommit(ROOT).slice(0, 12));
    assert.ok(Deno.statSync(join(cwd, "chart.png")).size > 10_000);
    const devices = await start(["devices"], { env });
    assert.equal(devices.code, 0, devices.stderr);
    assert.match(devices.stdout, /subgroups/);
    assert.equal(devices.stderr, "");
  },
});

Deno.test({
  name: "the standalone file serves its model and page, and ends after SIGTERM",
  ...linux,
  fn: async () => {
    const env = { PATH: "", HOME: "", XDG_CACHE_HOME: cache };
    const program = { command: which("sh")!, args: ["-c", 'exec "$0" "$@"', FILE], env };
    await withServer(program, [], async ({ address, child }) => {
      const answer = await complete(address, { prompt: "Once upon a time", max_tokens: 8 });
      assert.equal((await answer.json()).usage.completion_tokens, 8);
      assert.match(await (await fetch(address)).text(), /<title>tvllm<\/title>/);
      child.kill("SIGTERM");
      assert.equal((await child.status).code, 143);
    });
  },
});

Deno.test({
  name: "the standalone file unpacks a cut file again, even if a dead process left a lock",
  ...linux,
  fn: async () => {
    const place = placeIn(cache);
    Deno.truncateSync(join(place, "deno"), 1000);
    // The lock and the partial files belong to a process that has ended.
    const dead = await run("sh", ["-c", "echo $$"]);
    Deno.mkdirSync(join(place, "lock"));
    Deno.writeTextFileSync(join(place, "lock/pid"), dead.stdout);
    Deno.mkdirSync(join(place, `part.${dead.stdout.trim()}`));
    const { code, stderr } = await start(["--version"], { env: { XDG_CACHE_HOME: cache } });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^Unpacking .*\n$/);
    const names = [...Deno.readDirSync(place)].map(({ name }) => name).sort();
    assert.deepEqual(names.filter((name) => !name.endsWith(".js")), ["cache", "deno"]);
    assert.ok(names.includes("main.js"));
  },
});

/** Writes a damaged copy of the file. Returns its path. */
async function damaged(change: (bytes: Uint8Array) => Uint8Array): Promise<string> {
  const path = join(Deno.makeTempDirSync(), "tvllm");
  await Deno.writeFile(path, change(Deno.readFileSync(FILE)), { mode: 0o755 });
  return path;
}

for (
  const [what, change] of [
    ["a byte of Deno is changed", (bytes) => bytes.with(1_000_000, bytes[1_000_000]! ^ 1)],
    ["a byte of the program is changed", (bytes) => bytes.with(-1_000_000, bytes.at(-1e6)! ^ 1)],
    ["its end is missing", (bytes) => bytes.subarray(0, -1000)],
    ["half of it is missing", (bytes) => bytes.subarray(0, 2e7)],
  ] as [string, (bytes: Uint8Array) => Uint8Array][]
) {
  Deno.test({
    name: `a standalone file is refused if ${what}, and leaves nothing`,
    ...linux,
    fn: async () => {
      const XDG_CACHE_HOME = Deno.makeTempDirSync();
      const file = await damaged(change);
      const { code, stdout, stderr } = await start(["--version"], {
        file,
        env: { XDG_CACHE_HOME },
      });
      assert.equal(code, 1);
      assert.equal(stdout, "");
      assert.match(
        stderr,
        /^Unpacking .*\nerror: Cannot unpack tvllm: \S+ is damaged; download it again\n$/,
      );
      assert.deepEqual([...Deno.readDirSync(placeIn(XDG_CACHE_HOME))], []);
    },
  });
}

Deno.test({
  name: "if nothing can be written, the standalone file says so in one line",
  ...linux,
  fn: async () => {
    for (const XDG_CACHE_HOME of ["/dev/null", "/proc"]) {
      const { code, stderr } = await start(["--version"], { env: { XDG_CACHE_HOME } });
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^error: Cannot unpack tvllm into \S+: .*; it needs .* XDG_CACHE_HOME .*\n$/,
      );
    }
  },
});

/** Whether this user may mount a small disk in a mount namespace of its own. */
const mounts = (await run("sh", ["-c", "unshare --mount mount -t tmpfs none /mnt"])).code === 0;

for (
  const [what, shell, limit, reason] of [
    [
      "programs may not run in the cache",
      "unshare --mount sh",
      'mount -t tmpfs -o noexec none "$XDG_CACHE_HOME"',
      /: programs may not run there; /,
    ],
    [
      "the disk is full",
      "unshare --mount sh",
      'mount -t tmpfs -o size=20m none "$XDG_CACHE_HOME"',
      /No space left on device/,
    ],
    ["large files are forbidden", "sh", "ulimit -f 20000", /files of this size are not allowed/],
  ] as const
) {
  Deno.test({
    name: `if ${what}, the standalone file says so in one line and leaves nothing`,
    ignore: linux.ignore || (shell !== "sh" && !mounts),
    fn: async () => {
      const script =
        `${limit}; "$0" --version; code=$?; find "$XDG_CACHE_HOME" -type f; exit $code`;
      const { code, stdout, stderr } = await run(
        "sh",
        ["-c", `${shell} -c '${script}' "$0"`, FILE],
        {
          env: { HOME: "", XDG_CACHE_HOME: Deno.makeTempDirSync() },
        },
      );
      assert.equal(code, 1, stderr);
      assert.equal(stdout, "");
      assert.match(stderr, reason);
      assert.match(stderr, /^Unpacking .*\nerror: Cannot unpack tvllm into .*\n$/);
    },
  });
}

Deno.test({
  name: "the standalone file downloads models behind a proxy that inspects TLS",
  ignore: linux.ignore || lacks("the proxy's certificate", "openssl"),
  fn: async () => {
    await using behind = await openHubBehindProxy();
    const TVLLM_CACHE = Deno.makeTempDirSync();
    const env = { ...behind.env, XDG_CACHE_HOME: cache, TVLLM_CACHE, PATH: Deno.env.get("PATH")! };
    const { code, stdout, stderr } = await start(["pull", "hf:org/repo"], { env });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /model\.gguf\n$/);
  },
});
