import assert from "node:assert/strict";
import { join } from "node:path";
import { PseudoTerminal } from "./pseudo_terminal.ts";
import { exists, lacks, ROOT, run, runTvllm, symlink } from "./run_tvllm.ts";

/** The completions that the shell scripts get for these words, without the summaries. */
async function complete(...words: string[]): Promise<string[]> {
  return (await lines(words)).map((line) => line.split("\t")[0]!);
}

async function lines(words: readonly string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await runTvllm(["complete", "--", ...words], { env });
  assert.equal(code, 0, stderr);
  return stdout.trimEnd().split("\n");
}

/** Creates a cache with a model of random weights. */
async function cacheWithModel(): Promise<string> {
  const TVLLM_CACHE = Deno.makeTempDirSync();
  const args = ["inspect", "-q", "-m", "synth:tiny-llama:q4_0"];
  assert.equal((await runTvllm(args, { env: { TVLLM_CACHE } })).code, 0);
  return TVLLM_CACHE;
}

Deno.test("each completion has a summary", async () => {
  for (const words of [[""], ["generate", "--"], ["bench", "-"]]) {
    const [last, ...offers] = (await lines(words)).reverse();
    assert.equal(last, ":4");
    assert.ok(offers.length > 8);
    for (const line of offers) assert.match(line, /^[\w-]+\t\S.{5,}$/);
  }
});

Deno.test("completions offer models in the cache and models with random weights", async () => {
  const TVLLM_CACHE = await cacheWithModel();
  const cached = async (...words: string[]) => await lines(words, { TVLLM_CACHE });
  assert.deepEqual(await cached("rm", ""), ["synth:tiny-llama:Q4_0\tin the cache, 1.02 MB", ":4"]);
  assert.deepEqual(await cached("rm", "hf:"), [":4"]);
  assert.deepEqual(await complete("generate", "-m", "s"), ["synth:", ":2"]);
  assert.deepEqual(await complete("generate", "-m", "synth:tinyl"), ["synth:tinyllama-1.1b", ":6"]);
  const quantized = await complete("bench", "latency", "synth:tiny-llama:Q4_");
  assert.deepEqual(quantized.slice(0, 2), ["synth:tiny-llama:Q4_0", "synth:tiny-llama:Q4_1"]);
  assert.deepEqual(await complete("pull", ""), ["hf:", ":6"]);
});

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
  assert.deepEqual(await complete("bench", "--device=c"), ["cpu", ":4"]);
  assert.deepEqual(await complete("synth", "tiny-q"), [
    ...["tiny-qwen2", "tiny-qwen3", "tiny-qwen3moe", "tiny-qwen3.5", "tiny-qwen3.5moe"],
    ":4",
  ]);
  assert.deepEqual(await complete("completions", "z"), ["zsh", ":4"]);
  assert.deepEqual(await complete("nonsense", ""), [":4"]);
});

Deno.test("tvllm completions prints a script for each of four shells, and refuses others", async () => {
  for (const shell of ["bash", "zsh", "fish", "powershell"]) {
    const { code, stdout, stderr } = await runTvllm(["completions", shell]);
    assert.equal(code, 0);
    assert.equal(stderr, "");
    assert.match(stdout, /\btvllm complete /);
  }
  const { code, stderr } = await runTvllm(["completions", "tcsh"]);
  assert.equal(code, 2);
  assert.match(stderr, /^error: .*'tcsh'; expected bash, zsh, fish or powershell; /);
});

/** Creates a folder with tvllm, which can be added to PATH, and a model. */
function makeFolder(): string {
  const folder = Deno.makeTempDirSync();
  symlink(join(ROOT, "tvllm"), join(folder, "tvllm"));
  Deno.writeTextFileSync(join(folder, "some-model.gguf"), "");
  return folder;
}

const BASH_COMPLETION = "/usr/share/bash-completion/bash_completion";

function lacksBashCompletion(): boolean {
  if (exists(BASH_COMPLETION)) return false;
  console.error(
    "skipping bash's completions: no bash-completion (Debian: apt-get install bash-completion)",
  );
  return true;
}

Deno.test({
  name: "bash completes from the script, on a terminal",
  ignore: lacks("bash's completions", "bash", "tmux") || lacksBashCompletion(),
  fn: async () => {
    const folder = makeFolder();
    await using terminal = await PseudoTerminal.open("bash --norc --noprofile -i", {
      FOLDER: folder,
      TVLLM_CACHE: await cacheWithModel(),
    });
    await terminal.type(`. ${BASH_COMPLETION}; cd "$FOLDER"; PATH="$FOLDER:$PATH"; PS1='$ '\n`);
    // The script is evaluated twice, as in a shell that was started from a shell.
    await terminal.type('eval "$(tvllm completions bash)"; eval "$(tvllm completions bash)"\n');
    await terminal.type("clear\n");
    for (
      const [typed, line] of [
        ["tvllm tok", "tvllm tokenize |"],
        ["tvllm inspect --js", "tvllm inspect --json |"],
        ["tvllm bench --device=c", "tvllm bench --device=cpu |"],
        ["tvllm rm synth:t", "tvllm rm synth:tiny-llama:Q4_0 |"],
        ["tvllm generate -m synth:tinyl", "tvllm generate -m synth:tinyllama-1.1b|"],
        ["tvllm inspect some", "tvllm inspect some-model.gguf |"],
        ['tvllm generate "$(touch ran)" --devi', 'tvllm generate "$(touch ran)" --device |'],
      ] as const
    ) {
      await terminal.type(typed);
      await terminal.showsLine(`$ ${typed}|`);
      await terminal.press("Tab");
      await terminal.showsLine(`$ ${line}`);
      await terminal.press("C-u");
      await terminal.showsLine("$ |");
    }
    assert.ok(!exists(join(folder, "ran"))); // the typed command is not run
    await terminal.type("exit\n");
    assert.doesNotMatch(await terminal.ended(), /readonly|rror/);
  },
});

Deno.test({
  name: "zsh completes from the script",
  ignore: lacks("zsh's completions", "zsh"),
  fn: async () => {
    const folder = makeFolder();
    // zpty runs the shell on a terminal, where Tab starts the completion.
    const script = `
      zmodload zsh/zpty
      zpty shell "cd '$FOLDER' && PATH='$FOLDER:$PATH' zsh -f -i"
      zpty -w shell 'PS1=; autoload -U compinit; compinit -u -D'
      zpty -w shell 'eval "$(tvllm completions zsh)"; eval "$(tvllm completions zsh)"; echo READY'
      zpty -r shell line '*READY*READY*'
      zpty -w -n shell $'tvllm tok\\t--js\\t\\n'
      zpty -r shell line '*--json*'
      print -r -- "$line"
      zpty -w -n shell $'tvllm rm synth:t\\t\\n'
      zpty -r shell line '*Q4_0*'
      print -r -- "$line"
      zpty -w -n shell $'tvllm inspect some\\t\\n'
      zpty -r shell line '*gguf*'
      print -r -- "$line"`;
    const env = { FOLDER: folder, TVLLM_CACHE: await cacheWithModel() };
    const { stdout } = await run("zsh", ["-f", "-c", script], { env });
    assert.match(stdout, /rm synth:tiny-llama:Q4_0/);
    assert.match(stdout, /tokenize/);
    assert.match(stdout, /--json/);
    assert.match(stdout, /some-model\.gguf/);
  },
});

Deno.test({
  name: "fish completes from the script",
  ignore: lacks("fish's completions", "fish"),
  fn: async () => {
    const folder = makeFolder();
    const script = `
      set PATH $FOLDER $PATH
      tvllm completions fish | source
      tvllm completions fish | source
      complete -C 'tvllm tok'
      complete -C 'tvllm inspect --js'
      complete -C 'tvllm rm synth:t'
      complete -C 'tvllm tokenize -m some'`;
    const TVLLM_CACHE = await cacheWithModel();
    const env = { FOLDER: folder, TVLLM_CACHE, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder };
    const { stdout, stderr } = await run("fish", ["--no-config", "-c", script], {
      env,
      cwd: folder,
    });
    assert.equal(stderr, "");
    const values = stdout.trimEnd().split("\n").map((line) => line.split("\t")[0]);
    assert.deepEqual(values, [
      "tokenize",
      "--json",
      "synth:tiny-llama:Q4_0",
      "some-model.gguf",
    ]);
  },
});

Deno.test({
  name: "PowerShell completes from the script",
  ignore: lacks("PowerShell's completions", "pwsh"),
  fn: async () => {
    const folder = makeFolder();
    const script = `
      $env:PATH = "$env:FOLDER:$env:PATH"
      tvllm completions powershell | Out-String | Invoke-Expression
      tvllm completions powershell | Out-String | Invoke-Expression
      foreach ($line in 'tvllm tok', 'tvllm inspect --js', 'tvllm rm synth:t') {
        (TabExpansion2 -inputScript $line -cursorColumn $line.Length).CompletionMatches.CompletionText
      }`;
    const env = { FOLDER: folder, TVLLM_CACHE: await cacheWithModel() };
    const { stdout, stderr } = await run("pwsh", ["-NoProfile", "-Command", script], { env });
    assert.equal(stderr, "");
    assert.deepEqual(stdout.trimEnd().split("\n").map((text) => text.trim()), [
      "tokenize",
      "--json",
      "synth:tiny-llama:Q4_0",
    ]);
  },
});
