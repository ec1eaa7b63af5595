/** The licence texts and notices that must accompany the bundled packages. */

import { bundledPackages } from "./packages.ts";

/** All notices as one text. */
export async function makeNotices(): Promise<string> {
  const parts = [
    "tvllm contains these packages, each under its own licence. Everything else, the model included, is\n" +
    "under the licence in LICENSE.",
  ];
  for (const { name, version, manifest, texts } of await bundledPackages()) {
    const link = `https://www.npmjs.com/package/${name}/v/${version}`;
    parts.push([`${name} ${version}: ${manifest.license}, ${link}`, ...texts].join("\n\n"));
  }
  return `${parts.join(`\n\n${"=".repeat(80)}\n\n`)}\n`;
}
