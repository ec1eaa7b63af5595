/**
 * The configuration of a report: the device options of which bench accepts lists. It tells reports
 * of the same suite and model apart.
 */

import { plural } from "../../engine/plural.ts";
import type { Environment, Report } from "./report.ts";

/** An option, as the column of a table and as a phrase. */
interface Part {
  readonly title: string;
  readonly cell: (environment: Environment) => string;
  readonly phrase: (environment: Environment) => string;
}

const PARTS = {
  device: {
    title: "Device",
    cell: ({ device }) => device.kind === "cpu" ? "CPU" : device.description,
    phrase: ({ device }) => `on ${device.kind === "cpu" ? "the CPU" : device.description}`,
  },
  threads: {
    title: "Threads",
    cell: ({ host }) => String(host.threads),
    phrase: ({ host }) => `${host.threads} ${plural(host.threads, "thread")}`,
  },
  kvType: {
    title: "KV type",
    cell: ({ engine }) => engine.kvType,
    phrase: ({ engine }) => `${engine.kvType} KV cache`,
  },
} as const satisfies Readonly<Record<string, Part>>;

/** Name of an option that is part of the configuration. */
export type ConfigurationPart = keyof typeof PARTS;

const NAMES = Object.keys(PARTS) as ConfigurationPart[];

/** The columns that show how the configurations of these reports differ. */
export function configurationColumns(
  reports: readonly Report[],
): { readonly title: string; readonly cell: (report: Report) => string }[] {
  return differingParts(reports).map((name) => ({
    title: PARTS[name].title,
    cell: (report) => cellOf(report, name),
  }));
}

/** The parts of the configuration in which these reports differ. */
export function differingParts(reports: readonly Report[]): ConfigurationPart[] {
  return NAMES.filter((name) => new Set(reports.map((report) => cellOf(report, name))).size > 1);
}

/** The parts in which these reports differ, without the device: titles name it in any case. */
export function differingOptions(reports: readonly Report[]): ConfigurationPart[] {
  return differingParts(reports).filter((part) => part !== "device");
}

/** Describes these parts of a report's configuration, as in "2 threads" and "f32 KV cache". */
export function configurationTexts(
  { environment }: Report,
  parts: readonly ConfigurationPart[],
): string[] {
  return parts.map((name) => PARTS[name].phrase(environment));
}

function cellOf({ environment }: Report, name: ConfigurationPart): string {
  return PARTS[name].cell(environment);
}
