/** `npm pack`, and how users use the package: with npx, and as a library in their own program. */

import assert from "node:assert/strict";
import { join } from "node:path";
import denoJson from "../../deno.json" with { type: "json" };
import packageJson from "../../package.json" with { type: "json" };
import denoLock from "../../release/deno.lock" with { type: "text" };
import { libraryModules } from "../../release/npm.ts";
import { exists, lacks, ROOT, run, type RunResult, symlink, which } from "./run_tvllm.ts";
import { openHubBehindProxy } from "./tls_proxy.ts";

const hasNpm = !lacks("the npm package", "node", "npm", "npx");
const withNpm = { ignore: !hasNpm || Deno.build.os === "windows" };

/** A folder for PATH: Node.js, npm, sh and what npm starts, without Deno. */
const bin = Deno.makeTempDirSync();
for (const name of hasNpm ? ["node", "npm", "npx", "sh", "env", "uname"] : []) {
  symlink(which(name)!, join(bin, name));
}
const packed = Deno.makeTempDirSync();
const tarball = join(packed, `tvllm-${packageJson.version}.tgz`);

/**
 * Runs a program of Node.js with no Deno on PATH and an empty cache of Deno. npm's cache is kept,
 * because the pinned Deno is large. The rest of the environment is passed on, because it may
 * configure how npm's registry is reached.
 */
async function onNode(
  program: string,
  args: readonly string[],
  options: { cwd: string; env?: Record<string, string> },
): Promise<RunResult> {
  const child = new Deno.Command(which(program)!, {
    args: [...args],
    cwd: options.cwd,
    env: {
      PATH: bin,
      DENO_DIR: Deno.makeTempDirSync(),
      npm_config_cache: join(ROOT, ".cache/npm"),
      npm_config_loglevel: "error",
      npm_config_update_notifier: "false",
      NO_COLOR: "1",
      ...options.env,
    },
  });
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test("package.json agrees with deno.json and the lock files", () => {
  assert.equal(packageJson.version, denoJson.version);
  assert.equal(packageJson.license, denoJson.license);
  assert.equal(packageJson.name, denoJson.name.split("/")[1]);
  const pinned = packageJson.optionalDependencies.deno;
  const launcher = Deno.readTextFileSync(join(ROOT, "cli/find_deno.sh"));
  assert.equal(/^deno_npm=deno@(\S+)/m.exec(launcher)![1], pinned);
  for (const name of ["@deno/linux-x64-glibc", "@deno/linux-arm64-glibc"]) {
    assert.ok(denoLock.includes(`"npm:${name}@${pinned}"`), name);
  }
  const { "./package.json": _, ...exported } = packageJson.exports;
  const modules = Object.entries(libraryModules()).map(([name, path]) => {
    const built = `./dist/npm/${path.replace(/\.ts$/, "")}`;
    return [name, { types: `${built}.d.ts`, default: `${built}.js` }];
  });
  assert.deepEqual(exported, Object.fromEntries(modules));
});

Deno.test({
  name: "npm pack makes the package with Node.js alone, and it contains only the files it needs",
  ...withNpm,
  fn: async () => {
    const args = ["pack", "--json", "--pack-destination", packed];
    const { code, stdout, stderr } = await onNode("npm", args, { cwd: ROOT });
    assert.equal(code, 0, stderr);
    assert.ok(exists(tarball));
    const report = JSON.parse(stdout.slice(stdout.search(/^[[{]/m)));
    const [{ files, size }] = Array.isArray(report) ? report : Object.values(report) as [never];
    const names = (files as { path: string }[]).map(({ path }) => path);
    assert.ok(size < 10e6, `${size} bytes`);
    for (
      const name of [
        ...["package.json", "README.md", "LICENSE", "CHANGELOG.md", "dist/npm/NOTICES.txt"],
        ...["cli/launcher.mjs", "cli/permissions.mjs", "cli/permissions.txt"],
        ...["dist/npm/cli/main.js", "dist/npm/mod.js", "dist/npm/mod.d.ts"],
      ]
    ) assert.ok(names.includes(name), name);
    const others = names.filter((name) =>
      !/^(package\.json|[A-Z]+(\.md)?|cli\/\w+\.(mjs|txt)|dist\/npm\/[\w/-]+(\.d\.ts|\.js|\.txt))$/
        .test(name)
    );
    assert.deepEqual(others, []);
  },
});

Deno.test({
  name: "npx runs the package in an empty directory, and again without a network",
  ...withNpm,
  fn: async () => {
    const cwd = Deno.makeTempDirSync({ prefix: "it's an empty directory " });
    const args = ["generate", "Once upon a time", "-n", "8", "--seed", "1", "--device", "cpu"];
    const npx = (env: Record<string, string>) =>
      onNode("npx", ["--yes", `--package=${tarball}`, "tvllm", ...args], { cwd, env });
    const first = await npx({});
    assert.equal(first.code, 0, first.stderr);
    assert.equal(first.stdout, (await run("sh", [join(ROOT, "tvllm"), ...args])).stdout);
    const nowhere = "http://127.0.0.1:9";
    const offline = {
      npm_config_offline: "true",
      npm_config_registry: nowhere,
      ...{ HTTP_PROXY: nowhere, HTTPS_PROXY: nowhere },
    };
    const second = await npx(offline);
    assert.equal(second.code, 0, second.stderr);
    assert.equal(second.stdout, first.stdout);
    assert.deepEqual([...Deno.readDirSync(cwd)], []);
  },
});

Deno.test({
  name: "the package downloads models behind a proxy that inspects TLS",
  ignore: withNpm.ignore || lacks("the proxy's certificate", "openssl"),
  fn: async () => {
    await using behind = await openHubBehindProxy();
    const cwd = Deno.makeTempDirSync();
    const args = ["--yes", `--package=${tarball}`, "tvllm", "pull", "hf:org/repo"];
    const TVLLM_CACHE = Deno.makeTempDirSync();
    const env = { ...behind.env, TVLLM_CACHE, npm_config_offline: "true" };
    const { code, stdout, stderr } = await onNode("npx", args, { cwd, env });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /model\.gguf\n$/);
  },
});

/** A program of fewer than ten lines. */
const PROGRAM = `import { type AnswerPiece, load } from "tvllm";

await using model = await load(Deno.args[0]!, { device: "cpu" });
const answer = model.generate("Once upon a time", { maxTokens: 8, temperature: 0 });
const pieces: AnswerPiece[] = [];
for await (const piece of answer) pieces.push(piece);
const text: string = pieces.map(({ text }) => text).join("");
const limit: number = model.contextLength;
console.log(text.length, limit, answer.summary?.ids.length);
`;

Deno.test({
  name: "a program in TypeScript imports the library from the package, with its types",
  ...withNpm,
  fn: async () => {
    const cwd = Deno.makeTempDirSync();
    Deno.writeTextFileSync(join(cwd, "package.json"), '{ "type": "module" }');
    const installed = await onNode("npm", ["install", tarball], { cwd });
    assert.equal(installed.code, 0, installed.stderr);
    Deno.writeTextFileSync(join(cwd, "program.ts"), PROGRAM);
    // If the types were missing, they would be `any`, and the mistake would not be found.
    const mistake = PROGRAM.replace("const text: string", "const text: number");
    Deno.writeTextFileSync(join(cwd, "mistake.ts"), mistake);
    const deno = (...args: string[]) =>
      run(Deno.execPath(), args, { cwd, env: { DENO_DIR: Deno.makeTempDirSync(), NO_COLOR: "1" } });
    const checked = await deno("check", "program.ts");
    assert.equal(checked.code, 0, checked.stderr);
    const refused = await deno("check", "mistake.ts");
    assert.match(refused.stderr, /Type 'string' is not assignable to type 'number'/);
    const model = join(ROOT, "fixtures/builtin.gguf");
    const { code, stdout, stderr } = await deno("run", "--no-prompt", "-RE", "program.ts", model);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^[1-9]\d* 2048 8\n$/);
    // The pinned Deno is the only other package that was installed.
    const names = [...Deno.readDirSync(join(cwd, "node_modules"))].map(({ name }) => name);
    assert.deepEqual(names.filter((name) => !name.startsWith(".")).sort(), [
      "@deno",
      "deno",
      "tvllm",
    ]);
  },
});
