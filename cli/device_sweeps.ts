/** Device options of benchmarks. Some of them accept lists; each combination is measured. */

import { type Command, InvalidArgumentError, type OptionValues } from "@commander-js/extra-typings";
import type { Command as UntypedCommand } from "commander";
import { parseSweep } from "../bench/harness/sweep.ts";
import { RequestError } from "../engine/errors.ts";
import { addDeviceOptions, type DeviceValues } from "./options.ts";

const KINDS = ["auto", "gpu", "cpu"] as const;
const KV_TYPES = ["f16", "f32"] as const;
const MOST_THREADS = 256;

/** Values of the options that `addDeviceSweeps` adds. */
export type DeviceSweeps = Omit<DeviceValues, "device" | "threads" | "kvType"> & {
  readonly device?: readonly typeof KINDS[number][];
  readonly threads?: readonly number[];
  readonly kvType: readonly typeof KV_TYPES[number][];
};

/** Adds the options of `addDeviceOptions`; --device, --threads and --kv-type accept lists. */
export function addDeviceSweeps<A extends unknown[], O extends OptionValues>(
  command: Command<A, O>,
): Command<A, O & DeviceSweeps> {
  const untyped = addDeviceOptions(command) as unknown as UntypedCommand;
  const parsers: Readonly<Record<string, (text: string) => unknown>> = {
    device: names(KINDS),
    threads: numbers({ least: 1, most: MOST_THREADS }),
    kvType: names(KV_TYPES),
  };
  for (const option of untyped.options) {
    if (option.attributeName() === "ctxSize") option.description = CONTEXT;
    const parse = parsers[option.attributeName()];
    if (parse === undefined) continue;
    option.argParser(parse);
    option.description += `; or a list, such as ${SEVERAL[option.attributeName()]}`;
    if (option.defaultValue !== undefined) {
      untyped.setOptionValueWithSource(option.attributeName(), [option.defaultValue], "default");
    }
  }
  return untyped as unknown as Command<A, O & DeviceSweeps>;
}

const CONTEXT =
  "longest sequence (prompt and answer) in tokens (default: 4096, or more if the prompts need it, up to the model's limit)";

const SEVERAL: Readonly<Record<string, string>> = {
  device: "gpu,cpu",
  threads: "1,2,4 or 1-8*2",
  kvType: "f16,f32",
};

/**
 * Returns every combination of the listed values. Threads concern only the CPU: in a list of
 * devices, the GPU is measured once.
 */
export function combinations(
  { device, threads, kvType, ...common }: DeviceSweeps,
): DeviceValues[] {
  const devices = device ?? [undefined];
  return devices.flatMap((device) => {
    const counts = device === "gpu" && devices.length > 1 ? [undefined] : threads ?? [undefined];
    return counts.flatMap((threads) =>
      kvType.map((kvType) => ({
        ...common,
        ...(device !== undefined && { device }),
        ...(threads !== undefined && { threads }),
        kvType,
      }))
    );
  });
}

/** Returns a parser of lists of numbers and ranges. */
export function numbers(
  bounds: { readonly least: number; readonly most: number },
): (text: string) => number[] {
  return (text) => orInvalid(() => parseSweep(text, bounds));
}

/** Calls a parser, and turns its RequestError into commander's InvalidArgumentError. */
export function orInvalid<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw error instanceof RequestError ? new InvalidArgumentError(error.message) : error;
  }
}

function names<Name extends string>(known: readonly Name[]): (text: string) => Name[] {
  return (text) =>
    text.split(",").map((part) => {
      const name = known.find((one) => one === part.trim());
      if (name !== undefined) return name;
      throw new InvalidArgumentError(`Allowed choices are ${known.join(", ")}.`);
    });
}
