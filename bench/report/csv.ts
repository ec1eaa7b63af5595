/** Reports as CSV, one line per result, for spreadsheets and data frames. */

import type { Report } from "./report.ts";

/** All results of these reports; each setting has a column, samples are separated by spaces. */
export function toCsv(reports: readonly Report[]): string {
  const settings = new Set(
    reports.flatMap(({ results }) => results.flatMap((result) => Object.keys(result.settings))),
  );
  const lines = reports.flatMap(({ suite, environment, run, results }) =>
    results.map((result) => [
      ...[suite, environment.model.name, environment.device.description],
      ...[environment.host.threads, environment.engine.kvType, run.date],
      ...[result.metric, ...[...settings].map((name) => result.settings[name])],
      ...[
        result.unit,
        result.value,
        result.interval?.[0],
        result.interval?.[1],
        result.limit,
        result.samples?.join(" "),
      ],
    ])
  );
  const names = ["suite", "model", "device", "threads", "kv_type", "date", "metric", ...settings];
  return toCsvLines([[...names, "unit", "value", "low", "high", "limit", "samples"], ...lines]);
}

/** CSV lines with these fields. */
export function toCsvLines(lines: readonly (readonly (string | number | undefined)[])[]): string {
  return lines.map((fields) => `${fields.map(field).join(",")}\n`).join("");
}

/** A field as in RFC 4180, quoted if necessary. */
function field(value: string | number | undefined): string {
  const text = String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
