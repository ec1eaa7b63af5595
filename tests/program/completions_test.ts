import assert from "node:assert/strict";
import { join } from "node:path";
import { exists, ROOT, run, runTvllm, symlink, which } from "./run_tvllm.ts";

/** What the scripts get for a line of these words, less the descriptions. */
async function complete(...words: string[]): Promise<string[]> {
  const { code, stdout } = await runTvllm(["complete", "--", ...words]);
  assert.equal(code, 0);
  return stdout.trimEnd().split("\n").map((line) => line.split("\t")[0]!);
}

Deno.test("completions offer commands, options and choices, and leave files to the shell", async () => {
  assert.deepEqual(await complete("ins"), ["inspect", ":4"]);
  assert.deepEqual(await complete("inspect", "--js"), ["--json", ":4"]);
  assert.deepEqual(await complete("inspect", "--color", ""), ["auto", "always", "never", ":4"]);
  assert.deepEqual(await complete("tokenize", "--model", ""), [":0"]);
  assert.deepEqual(await complete("tokenize", "-m", "a/b"), [":0"]);
  assert.deepEqual(await complete("inspect", ""), [":0"]);
  assert.deepEqual(await complete("inspect", "--color", "auto", "a"), [":0"]);
  assert.deepEqual(await complete("bench", "lat"), ["latency", ":4"]);
  assert.deepEqual(await complete("bench", "-r", "3", "latency", "a"), [":0"]);
  assert.deepEqual(await complete("help", "sam"), ["sampling", ":4"]);
});

Deno.test("tvllm completions prints a script for four shells, and no other", async () => {
  for (const shell of ["bash", "zsh", "fish", "powershell"]) {
    const { code, stdout, stderr } = await runTvllm(["completions", shell]);
    assert.equal(code, 0);
    assert.equal(stderr, "");
    assert.match(stdout, /\btvllm complete /);
  }
  const { code, stderr } = await runTvllm(["completions", "tcsh"]);
  assert.equal(code, 2);
  assert.match(stderr, /^error: .*'tcsh'.*zsh, bash, fish, powershell/);
});

/** A folder with tvllm, as it would be on PATH, and a model in it. */
function makeFolder(): string {
  const folder = Deno.makeTempDirSync();
  symlink(join(ROOT, "tvllm"), join(folder, "tvllm"));
  Deno.writeTextFileSync(join(folder, "some-model.gguf"), "");
  return folder;
}

const BASH_COMPLETION = "/usr/share/bash-completion/bash_completion";

Deno.test({
  name: "bash completes from the script",
  ignore: which("bash") === undefined || !exists(BASH_COMPLETION),
  fn: async () => {
    const folder = makeFolder();
    const script = `
      . ${BASH_COMPLETION}
      PATH="$FOLDER:$PATH"
      eval "$(tvllm completions bash)"
      eval "$(tvllm completions bash)" # as a shell started twice does
      complete -p tvllm
      try() {
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=\${#COMP_LINE}
        COMPREPLY=()
        __tvllm_complete
        echo "\${COMPREPLY[*]}"
      }
      try tvllm tok
      try tvllm inspect --js
      try tvllm inspect --color a`;
    const { stdout } = await run("bash", ["--norc", "-c", script], { env: { FOLDER: folder } });
    assert.deepEqual(stdout.split("\n"), [
      "complete -o default -F __tvllm_complete tvllm",
      "tokenize",
      "--json",
      "auto always",
      "",
    ]);
  },
});

Deno.test({
  name: "zsh completes from the script",
  ignore: which("zsh") === undefined,
  fn: async () => {
    const folder = makeFolder();
    // zpty gives the shell a terminal; a Tab makes it complete, ^D ends it.
    const script = `
      zmodload zsh/zpty
      zpty shell "cd '$FOLDER' && PATH='$FOLDER:$PATH' zsh -f -i"
      zpty -w shell 'PS1=; autoload -U compinit; compinit -u -D; eval "$(tvllm completions zsh)"; echo READY'
      zpty -r shell line '*READY*READY*'
      zpty -w -n shell $'tvllm tok\\t--js\\t\\n'
      zpty -r shell line '*--json*'
      print -r -- "$line"
      zpty -w -n shell $'tvllm inspect some\\t\\n'
      zpty -r shell line '*gguf*'
      print -r -- "$line"`;
    const { stdout } = await run("zsh", ["-f", "-c", script], { env: { FOLDER: folder } });
    assert.match(stdout, /tokenize/);
    assert.match(stdout, /--json/);
    assert.match(stdout, /some-model\.gguf/);
  },
});

Deno.test({
  name: "fish completes from the script",
  ignore: which("fish") === undefined,
  fn: async () => {
    const folder = makeFolder();
    const script = `
      set PATH $FOLDER $PATH
      tvllm completions fish | source
      complete -C 'tvllm tok'
      complete -C 'tvllm inspect --js'
      complete -C 'tvllm tokenize -m some'`;
    const env = { FOLDER: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder };
    const { stdout } = await run("fish", ["--no-config", "-c", script], { env, cwd: folder });
    const values = stdout.trimEnd().split("\n").map((line) => line.split("\t")[0]);
    assert.deepEqual(values, ["tokenize", "--json", "some-model.gguf"]);
  },
});
