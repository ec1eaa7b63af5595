/**
 * Finds the launch sizes for an adapter: those measured on it, else the defaults for its vendor.
 */

import denoJson from "../deno.json" with { type: "json" };
import { defaultTuning, type Tuning } from "../kernels/tuning.ts";
import { chosenTuning } from "../kernels/tuning_variants.ts";
import { printable } from "./files/quote.ts";
import type { Gpu } from "./gpu/device.ts";
import { vulkanDriver } from "./gpu/vulkan_driver.ts";
import { findRecord, tuneFilePath, type TuneKey } from "./tune_file.ts";

/** Launch sizes and their origin. */
export interface Tuned {
  readonly tuning: Tuning;
  /** The origin: `tuned on 2026-11-29` or `defaults for AMD`, for example. */
  readonly source: string;
  /** Why existing measured sizes are ignored. */
  readonly note?: string;
}

type Adapter = Pick<Gpu, "api" | "description" | "driver" | "driverVersion" | "vendor">;

/** Returns the key under which choices are valid: adapter, driver and version of tvllm. */
export function tuneKey(gpu: Adapter): TuneKey {
  const { api, description, driverVersion } = gpu;
  return {
    adapter: adapterOf(gpu),
    driver: (api === "Vulkan" ? vulkanDriver(description) : undefined) ?? driverVersion,
    tvllm: denoJson.version,
  };
}

/**
 * Returns the launch sizes for `gpu`.
 *
 * @param path the file of measured choices; default the one in the model cache
 */
export function tunedFor(gpu: Adapter, path: string | undefined = tuneFilePath()): Tuned {
  const { tuning, owner } = defaultTuning(gpu);
  const source = `defaults for ${owner}`;
  if (path === undefined || !mayRead(path)) return { tuning, source };
  const { record, fault } = findRecord(path, {
    adapter: adapterOf(gpu),
    kind: gpu.driver,
    key: () => tuneKey(gpu),
  });
  if (record !== undefined) {
    const { date, choices } = record;
    return { tuning: chosenTuning(tuning, gpu.driver, choices), source: `tuned on ${date}` };
  }
  if (fault === undefined) return { tuning, source };
  const note = `Ignoring the tuning in ${printable(path)}: ${fault}; run tvllm tune again`;
  return { tuning, source, note };
}

function adapterOf({ api, description }: Adapter): string {
  return `${api}: ${description}`;
}

/** Whether the file may be read without a permission prompt. */
function mayRead(path: string): boolean {
  return Deno.permissions.querySync({ name: "read", path }).state === "granted";
}
