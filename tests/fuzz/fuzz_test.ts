import assert from "node:assert/strict";
import { ModelFormatError } from "../../engine/errors.ts";
import { verdict } from "./case.ts";
import { fileReaders } from "./files.ts";
import { numbersFrom } from "./mutations.ts";
import { serverReaders } from "./server_bodies.ts";
import { textReaders } from "./texts.ts";

const readers = { ...fileReaders(Deno.makeTempDirSync()), ...serverReaders() };

const cases = [
  ...Object.entries(readers).map(([name, reader]) => ({ name, reader, count: 60 })),
  ...Object.entries(await textReaders()).map(([name, reader]) => ({ name, reader, count: 4 })),
];

for (const { name, reader, count } of cases) {
  Deno.test(`${count} mutations for the reader of ${name} end in a value or a readable error`, async () => {
    const { warn } = console;
    console.warn = () => {};
    try {
      for (let seed = 1; seed <= count; seed++) {
        assert.equal(await verdict(reader(numbersFrom(seed))), undefined, `seed ${seed}`);
      }
    } finally {
      console.warn = warn;
    }
  });
}

Deno.test("verdict() reports the outcomes that a case must not have", async () => {
  const input = new Uint8Array(0);
  const of = (run: () => void | Promise<void>) => verdict({ input, run });
  const fails = (message: string) => () => {
    throw new ModelFormatError(message);
  };
  assert.equal(await of(() => {}), undefined);
  assert.equal(await of(fails("Cannot read it")), undefined);
  assert.match((await of(fails("x".repeat(401))))!, /^a message of 401 characters/);
  assert.match((await of(fails("a\u001b[m")))!, /^a raw control/);
  assert.match(
    (await of(() => Promise.reject(new RangeError("own"))))!,
    /^an error of an unexpected type/,
  );
  const kept: Uint8Array[] = [];
  // Much more than the limit, since garbage of other cases may be collected meanwhile.
  assert.match((await of(() => void kept.push(new Uint8Array(256 << 20))))!, /bytes of memory$/);
});
