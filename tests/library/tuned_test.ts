/** The tuning that an adapter gets from the file of measured tunings; a bad file is not used. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { findRecord, TuneFile, type TuneRecord } from "../../engine/tune_file.ts";
import { tunedFor, tuneKey } from "../../engine/tuned.ts";
import { symlink } from "../program/run_tvllm.ts";

const ADAPTER = {
  api: "Metal",
  description: "Apple M2 Pro",
  driver: "hardware",
  driverVersion: "unknown",
  vendor: "0",
} as const;
const RECORD: TuneRecord = {
  ...tuneKey(ADAPTER),
  date: "2026-11-29",
  choices: { products: "16 lanes", steps: "8 steps" },
};
const DEFAULTS = "defaults for Apple";
const OWN = { adapter: RECORD.adapter, kind: "hardware", key: () => tuneKey(ADAPTER) } as const;

function fileOf(text: string): string {
  const path = join(Deno.makeTempDirSync(), "adapters.jsonl");
  Deno.writeTextFileSync(path, text);
  return path;
}

/** Returns the tuning from a file with these records, or with this text. */
function tunedBy(content: string | readonly unknown[]) {
  const text = typeof content === "string"
    ? content
    : content.map((record) => `${JSON.stringify(record)}\n`).join("");
  return tunedFor(ADAPTER, fileOf(text));
}

Deno.test("tunedFor() returns the last tuning that was measured on this adapter", () => {
  const other = { ...RECORD, adapter: "Vulkan: Apple M2 Pro", date: "2027-01-01" };
  const older = { ...RECORD, date: "2026-01-01", choices: {} };
  const { tuning, source, note } = tunedBy([older, RECORD, other]);
  assert.equal(source, "tuned on 2026-11-29");
  assert.equal(note, undefined);
  assert.equal(tuning.steps, 8);
  assert.ok(tuning.matmul.by === "lanes" && tuning.matmul.split === 16);
});

Deno.test("tunedFor() returns the vendor's defaults if nothing was measured", () => {
  for (const path of [undefined, "/no/such/file", fileOf("")]) {
    const { source, note } = tunedFor(ADAPTER, path ?? join(Deno.makeTempDirSync(), "none"));
    assert.deepEqual({ source, note }, { source: DEFAULTS, note: undefined });
  }
  // A partly written last line does not hide the last complete one.
  const half = JSON.stringify(RECORD).slice(0, 40);
  assert.equal(tunedBy(`${JSON.stringify(RECORD)}\n${half}`).source, "tuned on 2026-11-29");
});

Deno.test("tunedFor() ignores measurements with another driver or version, and reports it", () => {
  for (
    const [change, why] of [
      // The variants of another version may have other names.
      [
        { tvllm: "0.0.1", choices: { products: "new" } },
        /: it was measured with tvllm '0\.0\.1', but this is \d/,
      ],
      [
        { driver: "Mesa 22.3.6" },
        /: it was measured with driver 'Mesa 22\.3\.6', but the current one is 'unknown'/,
      ],
    ] as const
  ) {
    const { source, note, tuning } = tunedBy([{ ...RECORD, ...change }]);
    assert.equal(source, DEFAULTS);
    assert.equal(tuning.steps, 4);
    assert.match(note!, why);
    assert.match(note!, /^Ignoring the tuning in [^\n]*; run tvllm tune again$/);
  }
});

Deno.test("tunedFor() uses nothing from a damaged or hostile file, and reports it in one line", () => {
  const bad: readonly (string | readonly unknown[])[] = [
    "not JSON\n",
    "[]\n",
    "{\n".repeat(1000),
    "x".repeat(1 << 17),
    [{ ...RECORD, date: "\x1b[31m2026-11-29" }],
    [{ ...RECORD, date: 20261129 }],
    [{ ...RECORD, tvllm: "1".repeat(1000) }],
    [{ ...RECORD, choices: null }],
    [{ ...RECORD, choices: { products: "1024 lanes" } }],
    [{ ...RECORD, choices: { products: 16 } }],
    [{ ...RECORD, choices: { steps: "toString" } }],
    [{ ...RECORD, choices: JSON.parse('{"__proto__": "8 steps"}') }],
    // A choice of the software tuning, on a GPU.
    [{ ...RECORD, choices: { products: "4 rows" } }],
  ];
  for (const content of bad) {
    const { source, note, tuning } = tunedBy(content);
    assert.equal(source, DEFAULTS, JSON.stringify(content).slice(0, 200));
    assert.equal(tuning.steps, 4);
    assert.match(note!, /^Ignoring the tuning in \P{Cc}*; run tvllm tune again$/u);
  }
  const directory = Deno.makeTempDirSync();
  assert.match(tunedFor(ADAPTER, directory).note!, /not a regular file/);
  if (Deno.build.os !== "windows") {
    symlink("/dev/zero", join(directory, "endless"));
    assert.match(tunedFor(ADAPTER, join(directory, "endless")).note!, /not a regular file/);
  }
  const escaping = [{ ...RECORD, tvllm: "\x1b[2J\n" }];
  assert.doesNotMatch(tunedBy(escaping).note!, /\p{Cc}/u);
});

Deno.test("TuneFile keeps the last valid line of each adapter, and appends one", () => {
  const other = { ...RECORD, adapter: "Vulkan: another" };
  const older = { ...RECORD, date: "2026-01-01" };
  const lines = [older, other, older].map((record) => JSON.stringify(record)).join("\n");
  const path = fileOf(`${lines}\nhalf a li`);
  {
    using file = new TuneFile(path);
    file.add(RECORD);
  }
  const kept = Deno.readTextFileSync(path).trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(kept, [older, other, RECORD]);
  assert.deepEqual(findRecord(path, OWN), { record: RECORD });
});

Deno.test("TuneFile replaces a symbolic link instead of writing through it", () => {
  const directory = Deno.makeTempDirSync();
  const [path, target] = ["adapters.jsonl", "precious"].map((name) => join(directory, name));
  Deno.writeTextFileSync(target!, "mine");
  if (Deno.build.os !== "windows") symlink(target!, path!);
  {
    using file = new TuneFile(path!);
    file.add(RECORD);
  }
  assert.equal(Deno.readTextFileSync(target!), "mine");
  assert.deepEqual(findRecord(path!, OWN), { record: RECORD });
});
