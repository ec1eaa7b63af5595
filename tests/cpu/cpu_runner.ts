/** CPU runners for tests, mostly of tiny models; each is destroyed when its test has used it. */

import { type CpuRunnerOptions, loadCpuRunner } from "../../engine/cpu/load_runner.ts";
import type { CpuRunner } from "../../engine/cpu/runner.ts";
import { openGguf } from "../../engine/files/gguf.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { type TinyArchitecture, type TinyFormat, tinyModel } from "../../fixtures/tiny_models.ts";

/** Loads a GGUF file and runs `use` with it. */
export async function withRunnerOf<T>(
  path: string,
  options: CpuRunnerOptions,
  use: (runner: CpuRunner) => Promise<T>,
): Promise<T> {
  const file = openGguf(path);
  try {
    const { config, weights } = readModel(file);
    const runner = await loadCpuRunner(weights, config, options);
    try {
      return await use(runner);
    } finally {
      runner.destroy();
    }
  } finally {
    file.close();
  }
}

/** Like `withRunnerOf`, for the bytes of a GGUF file. */
export async function withBytes<T>(
  gguf: Uint8Array,
  options: CpuRunnerOptions,
  use: (runner: CpuRunner) => Promise<T>,
): Promise<T> {
  const path = Deno.makeTempFileSync({ suffix: ".gguf" });
  try {
    Deno.writeFileSync(path, gguf);
    return await withRunnerOf(path, options, use);
  } finally {
    Deno.removeSync(path);
  }
}

export function withTiny<T>(
  [architecture, format]: readonly [TinyArchitecture, TinyFormat],
  options: CpuRunnerOptions,
  use: (runner: CpuRunner) => Promise<T>,
): Promise<T> {
  return withBytes(tinyModel(architecture, format), options, use);
}

/** Calls `onRun` after each list of operations that the threads run, with the lists run so far. */
export function watchLists(runner: CpuRunner, onRun: (lists: number) => void): void {
  const { pool } = runner.stepper.context;
  const run = pool.run.bind(pool);
  let lists = 0;
  pool.run = (operations, count) => {
    run(operations, count);
    onRun(++lists);
  };
}
