/**
 * The conditions under which reports were made, and which of them must be equal in a comparison.
 */

import type { Report } from "../report.ts";

/** Conditions that must be equal in two reports, unless the user wants to compare across them. */
export const CONDITIONS = ["workload", "model", "machine"] as const;

export type Condition = typeof CONDITIONS[number];

/** A condition that differs: its name, and its value on each side. */
export interface Difference {
  /**
   * Undefined for conditions that may always differ, such as versions and settings of the engine.
   */
  readonly condition?: Condition;
  readonly name: string;
  readonly a: string;
  readonly b: string;
}

/** The conditions that differ between two sides, or between the runs of one. */
export function differencesOf(a: readonly Report[], b: readonly Report[]): Difference[] {
  const [ofA, ofB] = [a, b].map((reports) => reports.map(conditionsOf));
  return ofA![0]!.flatMap(({ condition, name }, i) => {
    const texts = [ofA!, ofB!].map((runs) => new Set(runs.map((entries) => entries[i]!.text)));
    if (new Set(texts.flatMap((own) => [...own])).size === 1) return [];
    const [first, second] = texts.map((own) => [...own].join(" or "));
    return [{ ...(condition && { condition }), name, a: first!, b: second! }];
  });
}

interface Entry {
  readonly condition?: Condition;
  readonly name: string;
  readonly text: string;
}

function conditionsOf({ environment: { host, device, model, engine }, run }: Report): Entry[] {
  const of = (condition: Condition | undefined, values: Readonly<Record<string, unknown>>) =>
    Object.entries(values).map(([name, value]) => ({
      ...(condition && { condition }),
      name,
      text: typeof value === "string" ? value : JSON.stringify(value),
    }));
  return [
    ...of("model", {
      "Model": `${model.name}, ${model.formats.join(" + ")}, ${model.parameters} parameters`,
      "Model SHA-256": model.sha256,
    }),
    ...of("machine", {
      "Processor": `${host.processor}, ${host.cores} logical processors`,
      "Device": `${device.description}, ${device.kind}, ${device.driver}`,
    }),
    ...of("workload", {
      "Prompt tokens": run.promptTokens,
      "Max tokens": run.maxTokens,
      "Prompts": run.prompts,
      "Concurrency": run.concurrency,
      "Contexts": run.contexts,
      "Sequences": run.sequences,
      "Prompt texts": run.promptTexts,
      "Sampling": run.sampling,
      "Seed": run.seed,
      "Options of the suite": run.suiteOptions,
      "Longest context": model.contextLength,
    }),
    ...of(undefined, {
      "System": host.system,
      "Graphics API": `${device.api}, driver ${device.driverVersion}`,
      "tvllm": `${engine.tvllm}, commit ${engine.commit}`,
      "Deno": engine.deno,
      "Threads": host.threads,
      "Kernels": engine.kernels,
      "KV cache": engine.kvType,
    }),
  ];
}
