/**
 * `tvllm devices`: shows the devices that can run models, measures their speed and checks kernels.
 */

import type { Command } from "@commander-js/extra-typings";
import { medianOf } from "../bench/report/stats.ts";
import { probeGpu } from "../bench/targets/probe.ts";
import type { Probe } from "../bench/targets/target.ts";
import { DeviceError } from "../engine/errors.ts";
import { type Gpu, openGpu } from "../engine/gpu/device.ts";
import { FORM_NAMES, timeForms } from "../engine/cpu/forms.ts";
import { type CheckResult, selfTest } from "../engine/gpu/self_test/self_test.ts";
import { pausesFor } from "../engine/run/event_loop.ts";
import { type Tuned, tunedFor } from "../engine/tuned.ts";
import { CheckFailedError } from "./exit_codes.ts";
import { Interrupts } from "./interrupt.ts";
import { addGlobalOptions } from "./options.ts";
import { Terminal } from "./terminal.ts";
import { counted } from "./transfer.ts";

/** Adds the command to `program`. */
export function addDevices(program: Command): void {
  const command = program.command("devices")
    .summary("show the GPU and the CPU, and how fast they are")
    .description(
      "Shows the GPU adapter with its limits and its speed, and the kernels for the CPU. Takes about a second.",
    )
    .option(
      "--check",
      "check the results of every kernel, instead of measuring the speed; exit code 7 if a result is wrong",
    )
    .option("--json", "print everything as one JSON object");
  addGlobalOptions(command).action(async (options, command) => {
    const terminal = new Terminal(command.optsWithGlobals());
    const gpu = await findGpu(options.check === true);
    if (typeof gpu === "string") {
      terminal.write(
        options.json
          ? `${JSON.stringify({ adapter: null, help: gpu, cpu: processorFacts() })}\n`
          : `${gpu}\n${describeProcessor()}`,
      );
      return;
    }
    const tuned = tunedFor(gpu);
    if (tuned.note !== undefined) terminal.note(tuned.note);
    try {
      const speed = options.check ? undefined : await measure(gpu, terminal);
      if (!options.json) terminal.write(describe(gpu, tuned, speed) + describeProcessor());
      const checks: CheckResult[] = [];
      if (options.check) {
        using interrupts = new Interrupts();
        using progress = terminal.progress("Checking");
        progress.announce();
        const pause = pausesFor(interrupts.signal);
        for await (const result of selfTest(gpu, { tuning: tuned.tuning, pause })) {
          checks.push(result);
          if (!options.json) terminal.write(line(result));
          progress.update(undefined, `${counted(checks.length, "check")} done`);
        }
      }
      if (options.json) {
        const all = {
          adapter: facts(gpu, tuned),
          cpu: processorFacts(),
          ...(speed && { speed: speedFacts(speed) }),
          ...(options.check && { checks }),
        };
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

/**
 * Opens the GPU. If there is no adapter, returns a text that explains this.
 *
 * @param needed whether to throw if there is no adapter
 * @throws {DeviceError} if the GPU cannot be opened, or there is none and it is needed.
 */
async function findGpu(needed: boolean): Promise<Gpu | string> {
  try {
    return await openGpu();
  } catch (error) {
    if (needed || !(error instanceof DeviceError) || error.kind !== "no-adapter") throw error;
    return `No GPU adapter: models run on the CPU. ${error.message}`;
  }
}

async function measure(gpu: Gpu, terminal: Terminal): Promise<Probe> {
  using progress = terminal.progress("Measuring");
  progress.announce();
  return await probeGpu(gpu);
}

function speedFacts({ bandwidth, flops }: Probe) {
  return { bandwidth_gb_per_second: medianOf(bandwidth), gflops: medianOf(flops) };
}

function facts(gpu: Gpu, { source }: Tuned) {
  const { limits } = gpu;
  return {
    description: gpu.description,
    vendor: gpu.vendor,
    architecture: gpu.architecture,
    driver: gpu.driver,
    tuning: source,
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

function describe(gpu: Gpu, { source }: Tuned, speed: Probe | undefined): string {
  const { limits, features, subgroupSize } = gpu;
  const has = (feature: string) => features.has(feature) ? "yes" : "no";
  const mebibytes = (bytes: number) => `${Math.floor(bytes / 2 ** 20).toLocaleString("en-US")} MiB`;
  const rows = [
    [
      "kind",
      gpu.driver === "hardware" ? "a GPU" : "a software driver, which runs slowly on the CPU",
    ],
    ["launch sizes", source.startsWith("tuned") ? source : `${source}; tvllm tune measures them`],
    ...(speed === undefined ? [] : speedRows(speed)),
    ["largest buffer", mebibytes(limits.maxBufferSize)],
    [
      "largest binding",
      `${mebibytes(limits.maxStorageBufferBindingSize)}; larger matrices are split by rows`,
    ],
    ["workgroup", `${limits.maxComputeInvocationsPerWorkgroup} invocations at most`],
    ["workgroup memory", `${limits.maxComputeWorkgroupStorageSize / 1024} KiB`],
    ["subgroups", subgroupSize > 0 ? `${subgroupSize} lanes or more` : "no"],
    ["kernel times", `${has("timestamp-query")}; tvllm bench breakdown needs them`],
  ];
  return `${gpu.description}\n` +
    rows.map(([name, value]) => `  ${name!.padEnd(18)}${value}\n`).join("");
}

/**
 * Returns the upper bounds of speed that follow from the measured limits, however good the kernels.
 */
function speedRows(probe: Probe): [string, string][] {
  const [bandwidth, flops] = [medianOf(probe.bandwidth), medianOf(probe.flops)];
  const number = (value: number) => Number(value.toPrecision(2)).toLocaleString("en-US");
  return [
    [
      "answers",
      `at most ${number(bandwidth)} tok/s with a 1 GB file: memory bandwidth ${
        number(bandwidth)
      } GB/s`,
    ],
    ["prompts", `at most ${number(flops / 2)} tok/s with 10⁹ weights: ${number(flops)} GFLOPS`],
  ];
}

/** Measures the forms of the integer dot product that this CPU supports, in µs. */
function processorFacts() {
  const forms = timeForms();
  const fastest = forms.reduce((a, b) => b.milliseconds < a.milliseconds ? b : a).form;
  return {
    processors: navigator.hardwareConcurrency,
    form: fastest,
    forms: forms.map(({ form, milliseconds }) => ({ form, microseconds: 1000 * milliseconds })),
  };
}

function describeProcessor(): string {
  const { processors, form, forms } = processorFacts();
  const times = forms.map(({ form, microseconds }) =>
    `${FORM_NAMES[form]} ${microseconds.toFixed(1)} µs`
  );
  return `CPU, ${processors} logical processors\n` +
    `  ${"kernels".padEnd(18)}${FORM_NAMES[form]}, the fastest: ${times.join(", ")}\n`;
}

function line({ name, passed, error, tolerance, message }: CheckResult): string {
  const found = message ?? `error ${error.toExponential(1)}, allowed ${tolerance.toExponential(1)}`;
  return `  ${passed ? "ok   " : "WRONG"} ${name.padEnd(18)}${found}\n`;
}
