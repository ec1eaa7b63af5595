/**
 * Checks that each command uses the permissions that permissions.txt grants it, and no others. The
 * flags are those of the launchers, but each permission has a scope, such as the whole disk for
 * reading, because Deno records a write with every read if permissions have no scope.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { permissionFlags } from "../../cli/launcher.mjs";
import { grantsOf, parsePermissions } from "../../cli/permissions.mjs";
import { BadHub } from "../hub/bad_hub.ts";
import { NO_TERMINAL, PseudoTerminal } from "./pseudo_terminal.ts";
import { baseEnv, ROOT, run, until } from "./run_tvllm.ts";
import { slowCheckout } from "./slow_checkout.ts";

const TABLE = Deno.readTextFileSync(join(ROOT, "cli/permissions.txt"));
const MODEL = join(ROOT, "fixtures/models/tiny-llama-q8_0.gguf");

const directory = Deno.makeTempDirSync();
const cache = join(directory, "cache");
const data = join(directory, "data");
Deno.mkdirSync(cache);
Deno.writeTextFileSync(join(directory, "text.txt"), "The king said to the queen. ".repeat(4));

/**
 * Deno for `bench ab --against`, without the record of permissions, which would overwrite that of
 * the program that starts it. It records only that it was started, because Deno does not do so.
 */
const silentDeno = join(directory, "deno");
const starts = join(directory, "starts");
Deno.writeTextFileSync(
  silentDeno,
  `#!/bin/sh\nunset DENO_AUDIT_PERMISSIONS\necho started >>'${starts}'\nexec '${Deno.execPath()}' "$@"\n`,
  { mode: 0o755 },
);

/** The launchers' flags for these arguments, each permission with a scope. */
function scopedFlags(args: readonly string[], env: Readonly<Record<string, string>>): string[] {
  const process = { env, deno: silentDeno };
  return permissionFlags(TABLE, args, process).flatMap((flag) => flag.split(" ")).map((flag) =>
    ({
      "--allow-read": "--allow-read=/",
      "--allow-write": "--allow-write=/",
      "--allow-net": "--allow-net=127.0.0.1",
    })[flag] ?? flag
  );
}

interface Use {
  readonly permission: string;
  readonly value: string;
}

/** Deno's arguments for these arguments of tvllm, as the launchers build them. */
function denoArguments(args: readonly string[], env: Readonly<Record<string, string>>): string[] {
  const launched = args[0] === "bench" ? [`--launched=workers=scoped\ndeno=${silentDeno}`] : [];
  return [
    "run",
    `--lock=${join(ROOT, "cli/deno.lock")}`,
    ...scopedFlags(args, env),
    join(ROOT, "cli/main.ts"),
    ...launched,
    ...args,
  ];
}

/** The uses of permissions that Deno recorded. */
function usesIn(log: string): Use[] {
  return Deno.readTextFileSync(log).trim().split("\n").filter(Boolean).map((line) =>
    JSON.parse(line)
  );
}

/** Runs the program, until its stderr matches `stop`. Returns the uses of its permissions. */
async function used(
  args: readonly string[],
  { env = {}, code = 0, stop }: {
    readonly env?: Readonly<Record<string, string>>;
    readonly code?: number;
    readonly stop?: RegExp;
  } = {},
): Promise<Use[]> {
  const log = Deno.makeTempFileSync();
  const all = { TVLLM_CACHE: cache, TVLLM_DATA: data, ...env };
  const child = new Deno.Command(Deno.execPath(), {
    args: denoArguments(args, all),
    clearEnv: true,
    env: { ...baseEnv(), ...all, DENO_AUDIT_PERMISSIONS: log },
    cwd: directory,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let stderr = "";
  const read = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) stderr += text;
  })();
  if (stop) {
    await until(() => stop.test(stderr) || undefined, () => stderr);
    child.kill("SIGTERM");
  }
  const status = await child.status;
  await read;
  assert.equal(status.code, code, stderr);
  return usesIn(log);
}

/** Every command, and every kind of model in the table. */
const RUNS: Readonly<Record<string, Parameters<typeof used>>> = {
  generate: [["generate", "-m", MODEL, "--device", "cpu", "-n", "2", "hi"]],
  perplexity: [["perplexity", "-m", MODEL, "--device", "cpu", "-f", "text.txt"]],
  tokenize: [["tokenize", "-m", MODEL, "hi"]],
  inspect: [["inspect", MODEL]],
  devices: [["devices", "--json"]],
  tune: [["tune", "-m", MODEL, "-q"]],
  list: [["list"]],
  help: [["help", "models"]],
  completions: [["completions", "bash"]],
  complete: [["complete", "--", "generate", "-"]],
  serve: [["serve", "-m", MODEL, "--device", "cpu", "--port", "0"], {
    stop: /http:\/\//,
    code: 143,
  }],
  bench: [["bench", "memory", "-m", MODEL, "--device", "cpu", "--json", "report.json"]],
  compare: [["compare", "report.json", "report.json", "--output", "compared.md"]],
  synth: [["synth", "tiny-llama", "-q", "--output", "made.gguf"]],
  "a model of random weights": [["inspect", "synth:tiny-llama:Q8_0"]],
};

function check(args: readonly string[], uses: readonly Use[]): void {
  const { net, write, variables } = grantsOf(
    parsePermissions(TABLE),
    args[0]!,
    (word) => args.some((own) => own === word || (!word.startsWith("-") && own.startsWith(word))),
  );
  const of = (name: string) => uses.filter(({ permission }) => permission === name);
  assert.equal(of("net").length > 0, net, "net");
  const places = write === "all" ? ["/"] : write.map((place) => ({ cache, data })[place]);
  for (const { value } of of("write")) {
    assert.ok(write === "all" || places.some((place) => value.startsWith(place)), value);
  }
  // A run without a terminal does not use what is granted for chats on a terminal.
  const isForChats = places.length === 1 && places[0] === data;
  if (!isForChats) assert.equal(of("write").length > 0, places.length > 0, "write");
  for (const { value } of of("env")) {
    assert.ok(variables.includes(value), `env ${value}`);
  }
  const other = uses.filter(({ permission }) =>
    !["read", "write", "net", "env"].includes(permission)
  );
  assert.deepEqual(other, []);
}

const seen = new Set<string>();

for (const [name, [args, options]] of Object.entries(RUNS)) {
  Deno.test(`${name} uses the permissions that the table grants it, and no others`, async () => {
    const uses = await used(args, options);
    for (const { permission, value } of uses) if (permission === "env") seen.add(value);
    check(args, uses);
  });
}

Deno.test({
  name: "bench --against starts Deno, as the table grants it",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const sides = ["--", "--device", "cpu", "--threads", "1"];
    const short = ["-p", "8", "-n", "4", "--budget", "60", "--output", "ab.md"];
    const args = ["bench", "ab", ...short, "--against", slowCheckout(), ...sides];
    const uses = await used(args);
    for (const { permission, value } of uses) if (permission === "env") seen.add(value);
    check(args, uses);
    assert.equal(Deno.readTextFileSync(starts), "started\n".repeat(2));
  },
});

Deno.test({
  name: "a chat reads TERM and the directory of saved chats, and writes only in that directory",
  ignore: NO_TERMINAL !== undefined,
  fn: async () => {
    const log = Deno.makeTempFileSync();
    const env = { TVLLM_CACHE: cache, TVLLM_DATA: data };
    const args = ["generate", "-m", MODEL, "--device", "cpu", "-n", "2"];
    const words = [Deno.execPath(), ...denoArguments(args, env)].map((word) => `'${word}'`);
    await using terminal = await PseudoTerminal.open(words.join(" "), {
      ...env,
      DENO_AUDIT_PERMISSIONS: log,
    });
    await terminal.shows(/^>/m);
    await terminal.type("/exit\n");
    assert.match(await terminal.ended(), /\[exit 0\]/);
    const uses = usesIn(log);
    check(args, uses);
    const of = (name: string) =>
      uses.filter(({ permission }) => permission === name).map(({ value }) => value);
    for (const name of ["TERM", "TVLLM_DATA"]) {
      assert.ok(of("env").includes(name), name);
      seen.add(name);
    }
    assert.ok(of("write").some((path) => path.startsWith(data)));
  },
});

Deno.test("bench and generate --endpoint use the network, as the table grants it", async () => {
  await using server = new BadHub({});
  const endpoint = ["--endpoint", `${server.endpoint}/v1`];
  for (
    const args of [
      ["bench", "latency", ...endpoint, "--json", "report.json"],
      ["generate", ...endpoint, "hi"],
    ]
  ) {
    const uses = await used(args, { code: 2 });
    for (const { permission, value } of uses) if (permission === "env") seen.add(value);
    check(args, uses);
  }
});

Deno.test("pull, a model of the hub and rm use the network and the cache, as the table grants it", async () => {
  await using hub = new BadHub({ "tiny-Q8_0.gguf": Deno.readFileSync(MODEL) });
  const env = { HF_ENDPOINT: hub.endpoint };
  for (
    const args of [
      ["pull", "hf:org/repo"],
      ["rm", "hf:org/repo:Q8_0"],
      ["inspect", "-m", "hf:org/repo"],
    ]
  ) {
    const uses = await used(args, { env });
    for (const { permission, value } of uses) if (permission === "env") seen.add(value);
    check(args, uses);
  }
});

Deno.test("every variable in the table is read by some command", async () => {
  for (const { permission, value } of await used(["inspect", "no-such-file"], { code: 3 })) {
    if (permission === "env") seen.add(value);
  }
  const granted = new Set(parsePermissions(TABLE).flatMap(({ variables }) => variables));
  // USERPROFILE is read only without HOME. Deno does not record the other two.
  for (const name of ["USERPROFILE", "NO_COLOR", "FORCE_COLOR"]) granted.delete(name);
  if (NO_TERMINAL !== undefined) {
    for (const name of ["TERM", "TVLLM_DATA"]) {
      granted.delete(name);
    }
  }
  assert.deepEqual([...granted].filter((name) => !seen.has(name)), []);
});

Deno.test("a write, a connection, a program or a variable that the launchers do not grant is refused", async () => {
  const script = join(directory, "tries.ts");
  Deno.writeTextFileSync(
    script,
    `const tries = {
      write: () => Deno.writeTextFileSync("elsewhere", ""),
      net: () => Deno.listen({ hostname: "127.0.0.1", port: 0 }).close(),
      run: () => new Deno.Command("true").outputSync(),
      ffi: () => Deno.dlopen("/nowhere.so", {}),
      sys: () => Deno.hostname(),
    };
    for (const [name, attempt] of Object.entries(tries)) {
      try { attempt(); console.log(name); } catch (error) {
        if (!(error instanceof Deno.errors.NotCapable)) throw error;
      }
    }
    console.log("PATH " + Deno.env.get("PATH"));`,
  );
  const allowed = async (args: readonly string[]) => {
    const env = { TVLLM_CACHE: cache, TVLLM_DATA: data };
    const flags = permissionFlags(TABLE, args, { env, deno: silentDeno });
    const { stdout, stderr } = await run(Deno.execPath(), [
      "run",
      ...flags.flatMap((flag) => flag.split(" ")),
      script,
    ], { cwd: directory });
    assert.equal(stderr, "");
    return stdout.trim().split("\n");
  };
  const path = "PATH undefined";
  for (
    const command of ["generate", "perplexity", "tokenize", "inspect", "devices", "list", "rm"]
  ) {
    assert.deepEqual(await allowed([command]), [path], command);
  }
  assert.deepEqual(await allowed(["pull", "hf:a/b"]), ["net", path]);
  assert.deepEqual(await allowed(["serve"]), ["net", path]);
  assert.deepEqual(await allowed(["bench", "memory"]), ["write", path]);
  // It may start Deno, but no other program.
  assert.deepEqual(await allowed(["bench", "ab", "--against", "x"]), ["write", path]);
});
