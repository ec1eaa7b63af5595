/** The table of permissions, as read by the program and the Node.js launcher. */

import assert from "node:assert/strict";
import {
  commandOf,
  dataDirectory,
  denoPackages,
  isNewEnough,
  modelCache,
} from "../../cli/launcher.mjs";
import {
  denoFlags,
  grantsOf,
  parsePermissions,
  unionOf,
  type Write,
} from "../../cli/permissions.mjs";

const TABLE = Deno.readTextFileSync(new URL("../../cli/permissions.txt", import.meta.url));
const ROWS = parsePermissions(TABLE);

Deno.test("parsePermissions() reads the table", () => {
  const text =
    "# comment\n\n* - - A,B -\nchat - data - -\npull yes cache C -\r\nrm - cache - no\nbench - yes - - -\nbench+--x - - - - deno\n";
  assert.deepEqual(parsePermissions(text), [
    { name: "*", net: false, write: [], variables: ["A", "B"], opensModel: true, run: false },
    { name: "chat", net: false, write: ["data"], variables: [], opensModel: true, run: false },
    { name: "pull", net: true, write: ["cache"], variables: ["C"], opensModel: true, run: false },
    { name: "rm", net: false, write: ["cache"], variables: [], opensModel: false, run: false },
    { name: "bench", net: false, write: "all", variables: [], opensModel: true, run: false },
    { name: "bench+--x", net: false, write: [], variables: [], opensModel: true, run: true },
  ]);
});

Deno.test("every row of permissions.txt has the format that its readers expect", () => {
  assert.ok(ROWS.length > 5);
  for (const line of TABLE.split("\n").filter((line) => line !== "" && !line.startsWith("#"))) {
    if (line.startsWith("env ")) assert.match(line, /^env +[A-Z_]+ +\S+$/);
    else {assert.match(
        line,
        /^\S+ +(-|yes) +(-|cache|data|yes) +(-|[A-Z_]+(,[A-Z_]+)*) +(-|no) +(-|deno)$/,
      );}
  }
  const names = ROWS.map(({ name }) => name);
  assert.deepEqual(names, [...new Set(names)]);
  // The shell launcher reads the rows in order. It must know whether the command opens a model
  // before it reaches the rows of models.
  const firstModel = names.findIndex((name) => /[:/]$/.test(name));
  assert.ok(names.slice(firstModel).every((name) => /[:/]$/.test(name)));
});

Deno.test("grantsOf() adds up the rows of a command and of its models", () => {
  const none = () => false;
  assert.deepEqual(grantsOf(ROWS, "inspect", none), { ...unionOf(ROWS.slice(0, 1)) });
  const hub = grantsOf(ROWS, "bench", (prefix) => prefix === "hf:");
  assert.equal(hub.net, true);
  assert.equal(hub.write, "all");
  assert.ok(hub.variables.includes("HF_TOKEN"));
  assert.deepEqual(grantsOf(ROWS, "generate", (prefix) => prefix === "hf:").write, [
    "data",
    "cache",
  ]);
  assert.equal(grantsOf(ROWS, "rm", () => true).net, false);
  const against = (word: string) => word === "--against";
  assert.equal(grantsOf(ROWS, "bench", against).run, true);
  assert.equal(grantsOf(ROWS, "bench", none).run, false);
  assert.equal(grantsOf(ROWS, "generate", against).run, false);
  // A command is never treated as a model, whatever its name.
  assert.equal(grantsOf(ROWS, "hf:", none).net, false);
});

Deno.test("denoFlags() passes no directory that Deno would split into two", () => {
  const grants = { net: false, variables: ["A"], run: true } as const;
  const start = [
    "--unstable-no-legacy-abort",
    "--unstable-worker-options",
    "--no-prompt",
    "--allow-read",
    "--ignore-env",
    "--allow-env=A",
  ];
  const flags = (write: Write, cache: string, data = "") =>
    denoFlags({ ...grants, write }, { cache, data });
  assert.deepEqual(flags(["cache"], "/a b"), [...start, "--allow-write=/a b"]);
  assert.deepEqual(flags(["cache"], "/a,b"), [...start, "--allow-write"]);
  assert.deepEqual(flags(["cache"], ""), start);
  assert.deepEqual(flags(["cache"], "/a", "/d"), [...start, "--allow-write=/a"]);
  assert.deepEqual(flags(["data", "cache"], "/a", "/d"), [...start, "--allow-write=/d,/a"]);
  assert.deepEqual(flags(["data", "cache"], "/a", "/d,e"), [...start, "--allow-write"]);
  assert.deepEqual(flags("all", "/a", "/d"), [...start, "--allow-write"]);
  const nowhere = { cache: "", data: "" };
  assert.deepEqual(denoFlags({ ...grants, write: [] }, nowhere, "/bin/deno"), [
    ...start,
    "--allow-run=/bin/deno",
  ]);
  assert.deepEqual(denoFlags({ ...grants, write: [] }, nowhere, "/a, b/deno"), [
    ...start,
    "--allow-run",
  ]);
});

Deno.test("commandOf() returns the first argument that is neither an option nor its value", () => {
  assert.equal(commandOf([]), "");
  assert.equal(commandOf(["-q", "--color", "never", "bench", "latency"]), "bench");
  assert.equal(commandOf(["--color=never", "list"]), "list");
});

Deno.test("modelCache() returns the program's directory, on Windows too", () => {
  const cache = (env: Record<string, string>) => modelCache(env).replaceAll("\\", "/");
  assert.equal(cache({}), "");
  assert.equal(cache({ USERPROFILE: "C:/Users/a" }), "C:/Users/a/.cache/huggingface/hub");
  assert.equal(cache({ HOME: "/h", XDG_CACHE_HOME: "/x" }), "/x/huggingface/hub");
  assert.equal(cache({ HF_HOME: "/f", HOME: "/h" }), "/f/hub");
  assert.equal(cache({ TVLLM_CACHE: "/t", HF_HUB_CACHE: "/u" }), "/t");
});

Deno.test("dataDirectory() returns the program's directory, on Windows too", () => {
  const data = (env: Record<string, string>) => dataDirectory(env).replaceAll("\\", "/");
  assert.equal(data({}), "");
  assert.equal(data({ USERPROFILE: "C:/Users/a" }), "C:/Users/a/.local/share/tvllm");
  assert.equal(data({ HOME: "/h", XDG_DATA_HOME: "/x" }), "/x/tvllm");
  assert.equal(data({ TVLLM_DATA: "/t", HOME: "/h" }), "/t");
});

Deno.test("denoPackages() returns Deno's npm packages for each system", () => {
  assert.deepEqual(denoPackages("linux", "x64"), ["deno", "@deno/linux-x64-glibc"]);
  assert.deepEqual(denoPackages("win32", "x64"), ["deno", "@deno/win32-x64"]);
  assert.deepEqual(denoPackages("darwin", "arm64"), ["deno", "@deno/darwin-arm64"]);
});

Deno.test("isNewEnough() reads the output of deno --version", () => {
  for (const text of ["deno 2.9.0 (stable)", "deno 2.10.1", "deno 3.0.0"]) {
    assert.ok(isNewEnough(text), text);
  }
  for (const text of ["", "deno 2.8.9", "deno 1.46.3", "not a version", "deno x.y.z"]) {
    assert.ok(!isNewEnough(text), text);
  }
});
