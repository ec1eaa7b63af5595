/**
 * Measures the time from the start of each form of tvllm to the first token of the built-in model:
 * `deno task startup [RUNS [OPTION of generate]…]`. Runs of the forms are interleaved, so other
 * load on the machine affects all of them; `deno task standalone` and `npm pack --pack-destination
 * dist` build them.
 */

import { join } from "node:path";
import { median } from "simple-statistics";
import packageJson from "../package.json" with { type: "json" };
import { ROOT, runTask } from "./task.ts";

const PROMPT = "Once upon a time";

/** The command line of each form; npm installed the package in `directory`. */
function formsIn(directory: string): Readonly<Record<string, readonly string[]>> {
  const bundle = join(ROOT, "dist/tvllm.js");
  const tarball = join(ROOT, `dist/tvllm-${packageJson.version}.tgz`);
  const standalone = join(ROOT, `dist/tvllm-standalone-${Deno.build.target}`);
  const deno = [Deno.execPath(), "run", "--no-config", "--no-lock", "--no-prompt", "-R", "-E"];
  return {
    "checkout: ./tvllm": [join(ROOT, "tvllm")],
    "bundle: deno run -RE tvllm.js": [...deno, bundle],
    "standalone": [standalone],
    "npm, installed: node_modules/.bin/tvllm": [join(directory, "node_modules/.bin/tvllm")],
    "npm: npx tvllm": ["npx", "--offline", "--yes", `--package=${tarball}`, "tvllm"],
  };
}

/** Milliseconds until the command writes its first byte. */
async function timeToFirstByte(
  [program, ...args]: readonly string[],
  cwd: string,
): Promise<number> {
  const start = performance.now();
  const child = new Deno.Command(program!, { args, cwd, stdout: "piped", stderr: "null" }).spawn();
  const reader = child.stdout.getReader();
  const { done } = await reader.read();
  const time = performance.now() - start;
  while (!(await reader.read()).done);
  if (done || !(await child.status).success) throw new Error(`Cannot run ${program}: it failed`);
  return time;
}

if (import.meta.main) {
  await runTask(async ([runs = "20", ...options]) => {
    const directory = await Deno.makeTempDir();
    try {
      const tarball = join(ROOT, `dist/tvllm-${packageJson.version}.tgz`);
      const install = new Deno.Command("npm", { args: ["install", tarball], cwd: directory });
      if (!(await install.output()).success) throw new Error(`Cannot install ${tarball}`);
      const forms = Object.entries(formsIn(directory));
      const times = new Map<string, number[]>(forms.map(([name]) => [name, []]));
      // The first run of each unpacks, downloads or fills a cache, and is not counted.
      for (let run = 0; run <= Number(runs); run++) {
        for (const [name, command] of forms) {
          const args = [...command, "generate", "-q", "-n", "1", ...options, PROMPT];
          const time = await timeToFirstByte(args, directory);
          if (run > 0) times.get(name)!.push(time);
        }
      }
      console.log(
        "| form | first token, median | fastest | slowest |\n| --- | ---: | ---: | ---: |",
      );
      for (const [name, all] of times) {
        const cells = [median(all), Math.min(...all), Math.max(...all)];
        console.log(`| ${name} | ${cells.map((time) => `${Math.round(time)} ms`).join(" | ")} |`);
      }
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
}
