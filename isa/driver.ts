/** Runs compile.ts with AMD's driver. */

import { fileURLToPath } from "node:url";
import { type Figures, FiguresReader } from "./report.ts";
import { variants } from "./variants.ts";

/** The chips in the golden file; polaris10, renoir and navi10 are supported too. */
export const CHIPS = ["navi31", "gfx1150", "navi21", "vega10"] as const;

/**
 * Returns what WebGPU would report for a chip. Chips before RDNA have subgroups of 64; those before
 * RDNA 2 have no dot products.
 */
export function chipFeatures(chip: string): { subgroupSize: number; packedDots: boolean } {
  const old = ["polaris10", "vega10", "renoir"].includes(chip);
  return { subgroupSize: old ? 64 : 32, packedDots: !old && chip !== "navi10" };
}

/** The driver's packages are not available on this machine. */
export class NoDriverError extends Error {
  override readonly name = "NoDriverError";
}

// Exit code of radv_offline.sh if the packages are not available.
const UNAVAILABLE = 69;

/**
 * Compiles the kernels for which `wanted` returns true, for a chip.
 *
 * @throws {NoDriverError} if the driver is not available.
 * @throws {Error} if the driver refuses a kernel.
 */
export async function figuresFor(
  chip: string,
  wanted: (name: string) => boolean = () => true,
): Promise<ReadonlyMap<string, Figures>> {
  const all = variants(chipFeatures(chip));
  const names = all.map(({ name }) => name).filter(wanted);
  const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const compile = [Deno.execPath(), "run", "--no-prompt", "--allow-read", "--allow-env"];
  const child = new Deno.Command("sh", {
    args: [path("radv_offline.sh"), chip, ...compile, path("compile.ts"), ...names],
    env: {
      NO_COLOR: "1",
      DENO_NO_UPDATE_CHECK: "1",
      RADV_OFFLINE_DIR: path("../.cache/radv-offline"),
    },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const reader = new FiguresReader(all);
  for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) reader.push(text);
  const { code } = await child.status;
  const said = reader.rest.slice(-2000).trim();
  if (code === UNAVAILABLE) throw new NoDriverError(said.split("\n").at(-1)!);
  if (code !== 0) throw new Error(`Cannot compile for ${chip} (exit code ${code}): ${said}`);
  return reader.figures;
}
