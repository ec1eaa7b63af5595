/**
 * `deno task soak:loads [COUNT]` loads and closes a model on the CPU COUNT times, by default 1,000,
 * each time with workers and an answer. It fails if threads or open files are left behind, or if
 * the heap or the resident memory has grown.
 */

import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { loadModel, openGguf } from "../../mod.ts";

/** Loads after which V8 and the allocator have settled, and the growth allowed from then on. */
const SETTLED = 100;
const MOST_GROWTH = 1.1;

const { positionals: [count = "1000"] } = parseArgs({ allowPositionals: true });
/** Available with --expose-gc. */
const { gc } = globalThis as unknown as { gc: () => void };

const entries = (path: string) => existsSync(path) ? [...Deno.readDirSync(path)].length : 0;

interface Held {
  readonly threads: number;
  readonly files: number;
  readonly heap: number;
  readonly resident: number;
}

async function held(): Promise<Held> {
  // A worker's thread ends shortly after its isolate.
  await new Promise((resolve) => setTimeout(resolve, 200));
  gc();
  const { heapUsed: heap, rss: resident } = Deno.memoryUsage();
  return {
    threads: entries("/proc/self/task"),
    files: entries("/proc/self/fd"),
    heap,
    resident,
  };
}

async function loadAndClose(path: string): Promise<void> {
  const file = openGguf(path);
  const model = await loadModel(file, { device: "cpu", threads: 2, contextLength: 64 });
  await model.complete("a", { maxTokens: 4 });
  await model.close();
}

const path = Deno.makeTempFileSync({ suffix: ".gguf" });
Deno.writeFileSync(path, tinyModel("llama", "Q4_0"));
let settled: Held | undefined;
try {
  for (let i = 1; i <= Number(count); i++) {
    await loadAndClose(path);
    if (i === Math.min(SETTLED, Number(count))) settled = await held();
    if (i % 100 === 0) console.log(`${i} loads: ${JSON.stringify(await held())}`);
  }
} finally {
  Deno.removeSync(path);
}
const last = await held();
const first = settled!;
const left = Object.keys(last).filter((what) => {
  const most = first[what as keyof Held] *
    (what === "threads" || what === "files" ? 1 : MOST_GROWTH);
  return last[what as keyof Held] > most;
});
console.log(
  left.length === 0
    ? `${count} loads: no thread, file or memory is left behind`
    : `${count} loads: ${left.join(", ")} grew from ${JSON.stringify(first)} to ${
      JSON.stringify(last)
    }`,
);
Deno.exit(left.length === 0 ? 0 : 1);
