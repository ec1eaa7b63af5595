/** Interrupts each kind of work at one moment; `deno task signals` does so at many. */

import assert from "node:assert/strict";
import { realModelMissing } from "../files/on_disk.ts";
import { interrupt, KINDS } from "../signals/interruptions.ts";

const ignore = Deno.build.os === "windows" || realModelMissing();

for (const [index, [name, kind]] of Object.entries(KINDS).entries()) {
  const [signal, code] = index % 2 === 0 ? ["SIGINT", 130] as const : ["SIGTERM", 143] as const;
  Deno.test({
    name: `${signal} during ${name} ends with ${code} and leaves nothing half written`,
    ignore,
    fn: async () => {
      const ended = await interrupt(kind, signal, 300);
      assert.deepEqual([ended.code, ended.fault], [code, undefined]);
    },
  });
}
