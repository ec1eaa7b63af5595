/** `tvllm devices`: what will run models here, and whether it computes what it should. */

import type { Command } from "@commander-js/extra-typings";
import { DeviceError } from "../engine/errors.ts";
import { type Gpu, openGpu } from "../engine/gpu/device.ts";
import { type CheckResult, selfTest } from "../engine/run/self_test/self_test.ts";
import { CheckFailedError } from "./exit_codes.ts";
import { addGlobalOptions } from "./options.ts";
import { Terminal } from "./terminal.ts";

/** Adds the command to `program`. */
export function addDevices(program: Command): void {
  const command = program.command("devices")
    .summary("show what will run here")
    .description("Shows the GPU adapter that models run on, its limits and features.")
    .option("--check", "compute with every kernel and compare; exit code 7 if one is wrong")
    .option("--json", "all of it as one JSON object");
  addGlobalOptions(command).action(async (options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    const gpu = await findGpu(options.check === true);
    if (typeof gpu === "string") {
      terminal.write(
        options.json ? `${JSON.stringify({ adapter: null, help: gpu })}\n` : `${gpu}\n`,
      );
      return;
    }
    try {
      if (!options.json) terminal.write(describe(gpu));
      const checks: CheckResult[] = [];
      if (options.check) {
        for await (const result of selfTest(gpu)) {
          checks.push(result);
          if (!options.json) terminal.write(line(result));
        }
      }
      if (options.json) {
        const all = { adapter: facts(gpu), ...(options.check && { checks }) };
        terminal.write(`${JSON.stringify(all)}\n`);
      }
      const wrong = checks.filter((check) => !check.passed).map((check) => check.name);
      if (wrong.length > 0) {
        throw new CheckFailedError(
          `Cannot trust ${gpu.description}: wrong results from ${
            wrong.join(", ")
          }; update its driver, or use --device cpu`,
        );
      }
    } finally {
      gpu.device.destroy();
    }
  });
}

/** The open adapter, or what to do where there is none and none is needed. */
async function findGpu(needed: boolean): Promise<Gpu | string> {
  try {
    return await openGpu();
  } catch (error) {
    if (needed || !(error instanceof DeviceError) || error.kind !== "no-adapter") throw error;
    return `No GPU adapter: models run on the CPU backend. ${error.message}`;
  }
}

function facts(gpu: Gpu) {
  const { limits } = gpu;
  return {
    description: gpu.description,
    vendor: gpu.vendor,
    architecture: gpu.architecture,
    driver: gpu.driver,
    subgroupSize: gpu.subgroupSize,
    features: [...gpu.features],
    limits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    },
  };
}

function describe(gpu: Gpu): string {
  const { limits, features, subgroupSize } = gpu;
  const has = (feature: string) => features.has(feature) ? "yes" : "no";
  const mebibytes = (bytes: number) => `${Math.floor(bytes / 2 ** 20).toLocaleString("en-US")} MiB`;
  const rows = [
    [
      "kind",
      gpu.driver === "hardware"
        ? "a GPU"
        : "a software driver: the processor does the work, slowly",
    ],
    ["largest buffer", mebibytes(limits.maxBufferSize)],
    [
      "largest binding",
      `${mebibytes(limits.maxStorageBufferBindingSize)}; larger matrices are split by rows`,
    ],
    ["workgroup", `${limits.maxComputeInvocationsPerWorkgroup} invocations at most`],
    ["workgroup memory", `${limits.maxComputeWorkgroupStorageSize / 1024} KiB`],
    ["subgroups", subgroupSize > 0 ? `${subgroupSize} lanes or more` : "no"],
    ["half precision", `${has("shader-f16")}; not needed`],
    ["kernel times", `${has("timestamp-query")}; tvllm bench breakdown needs them`],
  ];
  return `${gpu.description}\n` +
    rows.map(([name, value]) => `  ${name!.padEnd(18)}${value}\n`).join("");
}

function line({ name, passed, error, tolerance, message }: CheckResult): string {
  const found = message ?? `error ${error.toExponential(1)}, allowed ${tolerance.toExponential(1)}`;
  return `  ${passed ? "ok   " : "WRONG"} ${name.padEnd(18)}${found}\n`;
}
