/** The launch sizes for an adapter: those that were measured on it, else defaults for its vendor. */

import denoJson from "../deno.json" with { type: "json" };
import { defaultTuning, type Tuning } from "../kernels/tuning.ts";
import { chosenTuning } from "../kernels/tuning_variants.ts";
import { printable, quote } from "./files/quote.ts";
import type { Gpu } from "./gpu/device.ts";
import { vulkanDriver } from "./gpu/vulkan_driver.ts";
import { findRecord, tuneFilePath, type TuneKey } from "./tune_file.ts";

/** Launch sizes, and where they are from. */
export interface Tuned {
  readonly tuning: Tuning;
  /** As in `tuned on 2026-11-29`, or `defaults for AMD`. */
  readonly source: string;
  /** Why measured ones are there and not used. */
  readonly note?: string;
}

type Adapter = Pick<Gpu, "api" | "description" | "driver" | "driverVersion" | "vendor">;

/** What measured choices hold for: this adapter with this driver, in this version of tvllm. */
export function tuneKey({ api, description, driverVersion }: Adapter): TuneKey {
  return {
    adapter: `${api}: ${description}`,
    driver: (api === "Vulkan" ? vulkanDriver(description) : undefined) ?? driverVersion,
    tvllm: denoJson.version,
  };
}

/**
 * The launch sizes for `gpu`.
 *
 * @param path of what was measured; default the one in the model cache
 */
export function tunedFor(gpu: Adapter, path: string | undefined = tuneFilePath()): Tuned {
  const { tuning, owner } = defaultTuning(gpu);
  const source = `defaults for ${owner}`;
  if (path === undefined || !mayRead(path)) return { tuning, source };
  const found = findRecord(path, `${gpu.api}: ${gpu.description}`, gpu.driver);
  const ignored = (why: string) => ({
    tuning,
    source,
    note: `Ignoring the tuning in ${printable(path)}: ${why}; run tvllm tune again`,
  });
  if (found.record === undefined) {
    return found.fault === undefined ? { tuning, source } : ignored(found.fault);
  }
  const { date, choices, driver, tvllm } = found.record;
  const key = tuneKey(gpu);
  if (tvllm !== key.tvllm) return ignored(`it is from tvllm ${quote(tvllm)}, this is ${key.tvllm}`);
  if (driver !== key.driver) {
    return ignored(`it is for the driver ${quote(driver)}, this is ${quote(key.driver)}`);
  }
  return { tuning: chosenTuning(tuning, gpu.driver, choices), source: `tuned on ${date}` };
}

/** Whether the file may be read without anybody being asked. */
function mayRead(path: string): boolean {
  return Deno.permissions.querySync({ name: "read", path }).state === "granted";
}
