/** What the launchers find out about the machine and the sources, and how reports show it. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { checkoutCommit } from "../../cli/commit.ts";
import { takeLaunch } from "../../cli/host.ts";
import { lacks, ROOT, run, which } from "./run_tvllm.ts";

const posix = { ignore: Deno.build.os === "windows" };
const hasGit = !lacks("what git says of a checkout", "git");

/** Parses a launcher's description. */
const read = (description: string) => takeLaunch([`--launched=${description}`]).launch;

/** The parsed description that describe_host.sh prints for a checkout. */
async function describedBySh(root: string) {
  const script = '. "$0"; describe_host "" "$1"';
  const { stdout } = await run("sh", ["-c", script, join(ROOT, "cli/describe_host.sh"), root]);
  return read(stdout);
}

Deno.test({
  name: "the Node.js launcher describes the machine as the shell launcher does",
  ...posix,
  fn: async () => {
    const script = join(Deno.makeTempDirSync(), "describe.mjs");
    Deno.writeTextFileSync(
      script,
      `import { describeHost } from ${JSON.stringify(join(ROOT, "cli/launcher.mjs"))};
       console.log(describeHost());`,
    );
    const sh = await describedBySh(ROOT);
    for (const [program, ...flags] of [[Deno.execPath(), "run", "-A"], ["node"]] as const) {
      if (which(program) === undefined && program === "node") continue;
      const { stdout, stderr } = await run(program, [...flags, script]);
      const node = read(stdout.trimEnd());
      assert.ok(Number(node.get("started")) > 1.7e18, stderr);
      for (const name of ["workers", "processor", "flags", "memory", "tree"]) {
        assert.equal(node.get(name), sh.get(name), name);
      }
    }
  },
});

Deno.test({
  name: "a checkout is clean or dirty according to git, and neither outside of a repository",
  ignore: posix.ignore || !hasGit,
  fn: async () => {
    const root = Deno.makeTempDirSync();
    assert.equal((await describedBySh(root)).get("tree"), undefined);
    const git = (...args: string[]) => {
      const identity = "-c user.name=a -c user.email=a@b";
      return run("sh", ["-c", `git -C "$0" ${identity} "$@"`, root, ...args]);
    };
    await git("init", "--quiet");
    Deno.writeTextFileSync(join(root, "file"), "one");
    await git("add", "file");
    await git("commit", "--quiet", "--message", "one");
    assert.match(checkoutCommit(root), /^[0-9a-f]{12}$/);
    Deno.writeTextFileSync(join(root, "other"), "untracked");
    assert.equal((await describedBySh(root)).get("tree"), "clean");
    Deno.writeTextFileSync(join(root, "file"), "two");
    assert.equal((await describedBySh(root)).get("tree"), "dirty");
  },
});

for (
  const [launcher, command] of [
    ["tvllm", ["sh", join(ROOT, "tvllm")]],
    ["cli/launcher.mjs", [Deno.execPath(), "run", "-A", join(ROOT, "cli/launcher.mjs")]],
  ] as const
) {
  Deno.test({
    name: `a report of a run started by ${launcher} has the processor, the commit, and the startup`,
    ...posix,
    fn: async () => {
      const [program, ...args] = command;
      const bench = "bench breakdown --device cpu -p 8 -n 5 -r 1 --warmup 0 --json -".split(" ");
      const { code, stdout, stderr } = await run(program, [...args, ...bench]);
      assert.equal(code, 0, stderr);
      const { environment: { host, engine }, tables } = JSON.parse(stdout);
      const described = await describedBySh(ROOT);
      assert.equal(host.processor, described.get("processor") ?? "unknown");
      const id = checkoutCommit(ROOT);
      const mark = { clean: "", dirty: "-dirty" }[described.get("tree") ?? ""] ?? "-unchecked";
      assert.equal(engine.commit, id === "unknown" ? id : id + mark);
      const rows: string[][] = tables.flatMap(({ rows }: { rows: string[][] }) => rows);
      assert.ok(rows.some(([name]) => name === "Startup (from the launcher's first line)"));
    },
  });
}
