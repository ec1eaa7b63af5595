/**
 * Writes the software bill of materials in CycloneDX's JSON format: `deno task sbom`. It lists Deno, the
 * built-in model and the bundled packages, with the hashes of the tarballs they came from.
 */

import { Enums, Models, Serialize, SPDX, Spec } from "@cyclonedx/cyclonedx-library";
import { createHash } from "node:crypto";
import { join } from "node:path";
import denoJson from "../deno.json" with { type: "json" };
import { bundledPackages } from "./packages.ts";
import { DENO_VERSION, readLock, ROOT, runTask } from "./task.ts";

/** The bill as JSON; the same lock files give the same text. */
export async function makeSbom(): Promise<string> {
  const bom = new Models.Bom();
  const tvllm = component(Enums.ComponentType.Application, denoJson.name.split("/")[1]!, {
    version: denoJson.version,
    licence: denoJson.license,
  });
  bom.metadata.component = tvllm;
  const deno = component(Enums.ComponentType.Framework, "deno", {
    version: DENO_VERSION,
    licence: "MIT",
    description:
      "The runtime: part of the standalone and compiled programs, a dependency of the npm package",
  });
  bom.components.add(deno);
  tvllm.dependencies.add(deno.bomRef);
  for (const [key, sha512] of Object.entries(readLock("release/deno.lock").hashes)) {
    const [, name, version] = /^(.+)@([^@]+)$/.exec(key)!;
    const runtime = component(Enums.ComponentType.Framework, name!, {
      version: version!,
      licence: "MIT",
      sha512,
      description: "Deno's executable for one system, part of its standalone program",
    });
    bom.components.add(runtime);
    deno.dependencies.add(runtime.bomRef);
  }

  const packages = await bundledPackages();
  const components = new Map(packages.map((bundled) => {
    const { key, name, version, sha512, manifest } = bundled;
    return [
      key,
      component(Enums.ComponentType.Library, name, {
        version,
        sha512,
        licence: manifest.license,
        description: manifest.description,
      }),
    ];
  }));
  for (const { key, dependencies, isDirect } of packages) {
    const one = components.get(key)!;
    bom.components.add(one);
    if (isDirect) tvllm.dependencies.add(one.bomRef);
    for (const dependency of dependencies) one.dependencies.add(components.get(dependency)!.bomRef);
  }
  const model = new Models.Component(Enums.ComponentType.MachineLearningModel, "builtin.gguf", {
    bomRef: "builtin.gguf",
    description: "The story model, trained for tvllm on books in the public domain",
    licenses: new Models.LicenseRepository([licenceOf(denoJson.license)]),
    hashes: new Models.HashDictionary([[Enums.HashAlgorithm["SHA-256"], sha256OfModel()]]),
  });
  bom.components.add(model);
  tvllm.dependencies.add(model.bomRef);
  const factory = new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6);
  return new Serialize.JsonSerializer(factory).serialize(bom, { sortLists: true, space: 2 });
}

function component(
  type: Enums.ComponentType,
  name: string,
  { version, licence, sha512, description }: {
    readonly version: string;
    readonly licence: string | undefined;
    readonly sha512?: string;
    readonly description?: string | undefined;
  },
): Models.Component {
  const [group, short] = name.startsWith("@") ? name.split("/") as [string, string] : [null, name];
  // The address of a package, https://github.com/package-url/purl-spec; an @ is written %40.
  const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
  return new Models.Component(type, short, {
    ...(group !== null && { group }),
    version,
    purl,
    bomRef: purl,
    ...(description !== undefined && { description }),
    ...(licence !== undefined &&
      { licenses: new Models.LicenseRepository([licenceOf(licence)]) }),
    ...(sha512 !== undefined && {
      hashes: new Models.HashDictionary([[Enums.HashAlgorithm["SHA-512"], hex(sha512)]]),
    }),
  });
}

/** A licence by its SPDX identifier; the package of fonts has none. */
function licenceOf(text: string): Models.License {
  return SPDX.isSupportedSpdxId(text)
    ? new Models.SpdxLicense(text)
    : new Models.NamedLicense(text);
}

function sha256OfModel(): string {
  const bytes = Deno.readFileSync(join(ROOT, "fixtures/builtin.gguf"));
  return createHash("sha256").update(bytes).digest("hex");
}

function hex(base64: string): string {
  return Uint8Array.fromBase64(base64).toHex();
}

if (import.meta.main) {
  await runTask(async ([path]) => Deno.writeTextFileSync(path!, await makeSbom()));
}
