/** What the licences of the bundled packages ask to pass on. */

import { bundledPackages } from "./packages.ts";

/** Their names and licences as one text. */
export async function makeNotices(): Promise<string> {
  const parts = [
    "tvllm has these packages in it, each under its own licence. The model and all else are tvllm's\n" +
    "own, under the licence in LICENSE.",
  ];
  for (const { name, version, manifest, texts } of await bundledPackages()) {
    const link = `https://www.npmjs.com/package/${name}/v/${version}`;
    parts.push([`${name} ${version}: ${manifest.license}, ${link}`, ...texts].join("\n\n"));
  }
  return `${parts.join(`\n\n${"=".repeat(80)}\n\n`)}\n`;
}
