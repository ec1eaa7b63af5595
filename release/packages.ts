/** The npm packages in the bundle. */

import { join } from "node:path";
import { readLock, runDeno } from "./task.ts";

/** A package in the bundle. */
export interface Package {
  /** NAME@VERSION and the peers it was resolved with, as in a lock file. */
  readonly key: string;
  readonly name: string;
  readonly version: string;
  /** Keys of its dependencies. */
  readonly dependencies: readonly string[];
  /** Whether tvllm itself imports it. */
  readonly isDirect: boolean;
  /** SHA-512 of its tarball, in base64. */
  readonly sha512: string;
  /** Its package.json. */
  readonly manifest: { readonly license?: string; readonly description?: string };
  /** Its licence and notice files. */
  readonly texts: readonly string[];
}

/** The part of the output of `deno info --json` that is used. */
interface Info {
  readonly npmPackages: Readonly<
    Record<string, {
      readonly name: string;
      readonly version: string;
      readonly dependencies: readonly string[];
      readonly localPath: string;
    }>
  >;
}

/** The packages in the program's lock file, with their files in Deno's cache. */
export async function bundledPackages(): Promise<Package[]> {
  const args = ["info", "--json", "--lock=cli/deno.lock", "--frozen", "cli/main.ts"];
  const info: Info = JSON.parse(await runDeno(args, "list the packages"));
  const { direct, hashes } = readLock("cli/deno.lock");
  return Object.entries(hashes).map(([key, sha512]) => {
    const found = info.npmPackages[key];
    if (found === undefined) {
      throw new Error(`Cannot use cli/deno.lock: the program does not use ${key}, which it lists`);
    }
    const { name, version, dependencies, localPath } = found;
    const manifest = JSON.parse(Deno.readTextFileSync(join(localPath, "package.json")));
    const names = [...Deno.readDirSync(localPath)].filter(({ isFile, name }) =>
      isFile && /^(licen[cs]e|copying|notice|copyrightnotice)(\.(md|txt))?$/i.test(name)
    ).map(({ name }) => name).sort();
    const texts = names.map((file) => Deno.readTextFileSync(join(localPath, file)).trim());
    return {
      key,
      name,
      version,
      dependencies,
      isDirect: direct.has(key),
      sha512,
      manifest,
      texts,
    };
  });
}
