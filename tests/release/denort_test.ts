/** Which files release/compile.ts accepts as a runtime, and which permissions it grants. */

import assert from "node:assert/strict";
import { compiledPermissions } from "../../release/compile.ts";
import { checkDenort, executableKind } from "../../release/denort.ts";
import { HEADERS } from "./tiny_elf.ts";

/** Texts that identify denort: one of its error messages, and the user agent of its requests. */
const MARKS = `Could not find standalone binary section. Deno/${Deno.version.deno}`;

for (
  const [kind, target] of [
    ["ELF for x86-64", "x86_64-unknown-linux-gnu"],
    ["ELF for arm64", "aarch64-unknown-linux-gnu"],
    ["Mach-O for x86-64", "x86_64-apple-darwin"],
    ["Mach-O for arm64", "aarch64-apple-darwin"],
    ["PE for x86-64", "x86_64-pc-windows-msvc"],
  ] as const
) {
  Deno.test(`checkDenort() accepts denort for ${target}, and for no other machine`, () => {
    const marks = new TextEncoder().encode(MARKS);
    for (const [other, header] of Object.entries(HEADERS)) {
      assert.equal(executableKind(header), other);
      const check = () =>
        checkDenort(new Uint8Array([...header, ...marks]), target, Deno.version.deno);
      if (other === kind) check();
      else {
        assert.throws(check, { message: `it is ${other}, but the target needs ${kind}` });
      }
    }
  });
}

Deno.test("executableKind() returns undefined for other files, however short", () => {
  for (
    const bytes of [[], [0x4d, 0x5a], [0x7f, 0x45, 0x4c, 0x46], [0xca, 0xfe, 0xba, 0xbe, 0, 0]]
  ) {
    assert.equal(executableKind(new Uint8Array(bytes)), undefined);
  }
  // The PE header would be beyond the end of the file.
  const bytes = HEADERS["PE for x86-64"]!.slice();
  new DataView(bytes.buffer).setUint32(0x3c, 0xffff_fff0, true);
  assert.equal(executableKind(bytes), undefined);
  assert.equal(
    executableKind(Deno.readFileSync(Deno.execPath()))?.split(" ")[0],
    {
      linux: "ELF",
      darwin: "Mach-O",
      windows: "PE",
    }[Deno.build.os as string],
  );
});

Deno.test("a compiled program gets the permissions of all commands, and no more", () => {
  const flags = compiledPermissions();
  const names = flags.map((flag) => flag.split("=")[0]).sort();
  assert.deepEqual(names, [
    "--allow-env",
    "--allow-net",
    "--allow-read",
    "--allow-write",
    "--ignore-env",
    "--no-prompt",
    "--unstable-no-legacy-abort",
    "--unstable-worker-options",
  ]);
  const variables = flags.find((flag) => flag.startsWith("--allow-env="))!.split(/[=,]/);
  for (const name of ["TVLLM_MODEL", "HF_TOKEN", "HOME"]) assert.ok(variables.includes(name), name);
});
