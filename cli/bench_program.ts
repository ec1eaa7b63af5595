/** Describes the program and the machine for a report. */

import type { Program } from "../bench/targets/environment.ts";
import denoJson from "../deno.json" with { type: "json" };
import type { Model } from "../engine/mod.ts";
import { commit } from "./commit.ts";
import { describeHost, type Launch } from "./host.ts";
import { vulkanDriver } from "../engine/gpu/vulkan_driver.ts";
import type { HashCache } from "./model_hash.ts";

/** Returns the facts that are known before a model is opened. */
export function describeTvllm(
  launch: Launch,
): Pick<Program, "tvllm" | "commit" | "host"> {
  return { tvllm: denoJson.version, commit: commit(launch), host: describeHost(launch) };
}

/** Describes the program that has opened `model`. */
export async function describeProgram(
  { file }: Model,
  { model, kvType, hashes, launch, startup }: {
    /** The model as the user named it; undefined for the built-in one. */
    readonly model?: string | undefined;
    readonly kvType: Program["kvType"];
    readonly hashes: HashCache;
    readonly launch: Launch;
    readonly startup: Program["startup"];
  },
): Promise<Program> {
  const builtin = model === undefined ? (await import("./builtin_model.ts")).default : undefined;
  return {
    ...describeTvllm(launch),
    driverOf: vulkanDriver,
    kvType,
    startup,
    sha256: await hashes.hashOf(file, builtin),
  };
}
