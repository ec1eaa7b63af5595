/** The software bill of materials, and the notices of the packages. */

import assert from "node:assert/strict";
import "ajv"; // The validator loads these by itself.
import "ajv-formats";
import "ajv-formats-draft2019";
import { Spec, Validation } from "@cyclonedx/cyclonedx-library";
import { makeNotices } from "../../release/notices.ts";
import { bundledPackages } from "../../release/packages.ts";
import { makeSbom } from "../../release/sbom.ts";
import { DENO_VERSION } from "../../release/task.ts";

const text = await makeSbom();

Deno.test("makeSbom() follows the schema of CycloneDX 1.6, and is the same each time", async () => {
  assert.equal(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(text), null);
  assert.equal(await makeSbom(), text);
});

Deno.test("makeSbom() names Deno and every package, with its licence and the hash of its archive", async () => {
  const { components, dependencies } = JSON.parse(text);
  const byRef = new Map<string, Record<string, unknown>>(
    components.map((one: { "bom-ref": string }) => [one["bom-ref"], one]),
  );
  assert.ok(byRef.has(`pkg:npm/deno@${DENO_VERSION}`));
  const packages = await bundledPackages();
  assert.ok(packages.length > 10);
  for (const { name, version } of packages) {
    const one = byRef.get(`pkg:npm/${name.replace("@", "%40")}@${version}`);
    assert.ok(one, name);
    assert.equal((one["licenses"] as unknown[]).length, 1, name);
    const [{ alg, content }] = one["hashes"] as [{ alg: string; content: string }];
    assert.equal(alg, "SHA-512");
    assert.match(content, /^[0-9a-f]{128}$/);
  }
  const zrender = dependencies.find(({ ref }: { ref: string }) => ref.includes("zrender"));
  assert.match(zrender.dependsOn[0], /tslib/);
  const tvllm = dependencies.find(({ ref }: { ref: string }) => ref.startsWith("pkg:npm/tvllm@"));
  assert.ok(tvllm.dependsOn.some((ref: string) => ref.includes("/commander@")));
  assert.ok(!tvllm.dependsOn.some((ref: string) => ref.includes("/tslib@")));
});

Deno.test("makeNotices() contains the licence of every package that includes one", async () => {
  const notices = await makeNotices();
  for (const { name, version, texts } of await bundledPackages()) {
    assert.ok(notices.includes(`${name} ${version}: `), name);
    for (const text of texts) assert.ok(notices.includes(text), name);
  }
  assert.match(notices, /Apache License/);
  assert.match(notices, /Bitstream Vera/);
});
