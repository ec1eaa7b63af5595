import assert from "node:assert/strict";
import { join } from "node:path";
import { UsageError } from "../../cli/exit_codes.ts";
import { type SavedChat, SavedChats } from "../../cli/saved_chats.ts";

function chat(name: string, ...prompts: string[]): SavedChat {
  const turns = prompts.map((prompt) => ({ prompt, answer: `${prompt}, "indeed"\n` }));
  return { name, saved: "2026-01-01T00:00:00.000Z", model: "a model", turns };
}

function refuses(action: () => unknown, reason: RegExp): void {
  assert.throws(action, (error) => {
    assert.ok(error instanceof UsageError);
    assert.match(error.message, reason);
    return true;
  });
}

Deno.test("SavedChats keeps chats by name, the latest first, for other processes too", () => {
  const directory = join(Deno.makeTempDirSync(), "not there yet");
  using chats = SavedChats.open(directory);
  assert.deepEqual(chats.list(), []);
  assert.equal(chats.save(chat("a tale", "Once", "")), false);
  using others = SavedChats.open(directory);
  assert.deepEqual(others.load("a tale"), chat("a tale", "Once", ""));
  assert.equal(others.save({ ...chat("naïve", "Hé"), system: "Be brief." }), false);
  assert.equal(chats.load("naïve").system, "Be brief.");
  assert.deepEqual(chats.list().map(({ name }) => name), ["naïve", "a tale"]);
  assert.equal(chats.save(chat("a tale", "Twice")), true);
  assert.deepEqual(others.list().map(({ name }) => name), ["a tale", "naïve"]);
  assert.deepEqual(others.load("a tale").turns.map(({ prompt }) => prompt), ["Twice"]);
  const text = Deno.readTextFileSync(chats.path);
  assert.equal(text.match(/^\{.*\}$/gm)!.length, 2); // JSON lines, without the replaced chat
  if (Deno.build.os !== "windows") assert.equal(Deno.statSync(chats.path).mode! & 0o777, 0o600);
});

Deno.test("SavedChats skips lines that a crash left, whenever it happened", () => {
  const directory = Deno.makeTempDirSync();
  using chats = SavedChats.open(directory);
  const before = [chat("one", "a"), chat("two", "b")];
  for (const one of before) chats.save(one);
  const old = Deno.readTextFileSync(chats.path);
  const fresh = before.concat(chat("three", "c")).map((one) => `${JSON.stringify(one)}\n`).join("");
  // Contents of the file if the process dies while it writes, first after the old lines and then
  // over them.
  const behind = Array.from(fresh, (_, i) => `${old}\n${fresh.slice(0, i)}`);
  const doubled = `${old}\n${fresh}`;
  const over = Array.from(fresh, (_, i) => fresh.slice(0, i) + doubled.slice(i));
  for (const [i, text] of [...behind, ...over].entries()) {
    Deno.writeTextFileSync(chats.path, text);
    const names = chats.list().map(({ name }) => name);
    for (const { name, turns } of before) assert.deepEqual(chats.load(name).turns, turns);
    if (i >= behind.length) assert.equal(names[0], "three");
  }
  chats.save(chat("four", "d"));
  assert.deepEqual(chats.list().map(({ name }) => name), ["four", "three", "two", "one"]);
});

Deno.test("SavedChats refuses invalid names, and suggests saved ones", () => {
  using chats = SavedChats.open(Deno.makeTempDirSync());
  for (const name of ["a/b", "/etc/passwd", "..\\x", " a", "a\nb", "x".repeat(101), ""]) {
    refuses(
      () => chats.save(chat(name, "a")),
      /^Cannot save as '.*': expected a name .*chats\.jsonl\)$/,
    );
  }
  refuses(() => chats.load("tale"), /^Cannot load 'tale': nothing is saved yet$/);
  chats.save(chat("tale", "a"));
  refuses(() => chats.load("tal"), /^Cannot load 'tal': did you mean tale\?$/);
  refuses(
    () => chats.load("something"),
    /^Cannot load 'something': \/load alone lists what is saved$/,
  );
});

Deno.test({
  name: "SavedChats does not prompt for write permission that it lacks",
  permissions: { read: true, write: false },
  fn() {
    using chats = SavedChats.open("/somewhere");
    refuses(
      () => chats.list(),
      /has no permission to write there; start it with --allow-write=\/somewhere$/,
    );
  },
});

Deno.test({
  name: "SavedChats does not wait for a pipe",
  ignore: Deno.build.os !== "linux", // On other systems, opening one blocks.
  fn: () => {
    const directory = Deno.makeTempDirSync();
    const path = join(directory, "chats.jsonl");
    assert.ok(new Deno.Command("sh", { args: ["-c", 'mkfifo "$0"', path] }).outputSync().success);
    using chats = SavedChats.open(directory);
    refuses(() => chats.list(), /^Cannot save chats in .*: it is not a file; set TVLLM_DATA to/);
  },
});

Deno.test("SavedChats reports problems with its directory only when it needs it", () => {
  const directory = Deno.makeTempDirSync();
  const file = join(directory, "a file");
  Deno.writeTextFileSync(file, "");
  using inFile = SavedChats.open(join(file, "under it"));
  refuses(
    () => inFile.save(chat("a", "a")),
    /^Cannot save chats in .*: .*; set TVLLM_DATA to another directory$/,
  );
  using nowhere = SavedChats.open(undefined);
  refuses(() => nowhere.list(), /^Cannot save chats: .*; set TVLLM_DATA to a directory$/);
  using large = SavedChats.open(directory);
  Deno.truncateSync(large.path, 2 ** 26 + 2);
  refuses(
    () => large.list(),
    /^Cannot read the saved chats in .*: it is larger than .*; move it away$/,
  );
});
