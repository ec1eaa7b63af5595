/** Errors for benchmarks that ran, but whose reports contain failures. */

import type { Report } from "../bench/report/report.ts";
import { CasesFailedError, CheckFailedError } from "./exit_codes.ts";

/** @throws {CheckFailedError} if a check in these reports failed. */
export function failIfChecksFailed(reports: readonly Report[]): void {
  const failed = reports.flatMap(({ suite, checks }) =>
    checks.filter((check) => !check.ok).map(({ name, detail }) => `${suite}: ${name} (${detail})`)
  );
  if (failed.length > 0) throw new CheckFailedError(`Check failed: ${failed.join("; ")}`);
}

/** @throws {CasesFailedError} if a case in these reports could not be measured. */
export function failIfCasesFailed(reports: readonly Report[]): void {
  const failed = reports.flatMap(({ suite, failures = [] }) =>
    failures.map((failure) => `${suite} ${failure.case} (${failure.reason})`)
  );
  if (failed.length > 0) throw new CasesFailedError(`Cannot measure ${failed.join("; ")}`);
}
