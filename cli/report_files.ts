/** The files that `tvllm bench` writes. */

import { toCsv } from "../bench/report/csv.ts";
import { toMarkdown } from "../bench/report/markdown.ts";
import type { Report } from "../bench/report/report.ts";
import { UsageError } from "./exit_codes.ts";

/** Keeps files up to date with what was measured so far. */
export class ReportFiles {
  readonly #bySuite = new Map<string, Report>();

  constructor(
    readonly files: Readonly<Partial<Record<"json" | "csv" | "output", string | undefined>>>,
    readonly several: boolean,
  ) {}

  get reports(): Report[] {
    return [...this.#bySuite.values()];
  }

  /** What is known of a suite by now. */
  report(suite: string): Report | undefined {
    return this.#bySuite.get(suite);
  }

  save(report: Report): void {
    this.#bySuite.set(report.suite, report);
    const { json, csv, output } = this.files;
    if (json !== undefined) writeFile(json, this.json());
    if (csv !== undefined) writeFile(csv, toCsv(this.reports));
    if (output !== undefined) writeFile(output, this.reports.map(toMarkdown).join("\n"));
  }

  /** One suite's results as an object; of several an array, however many are done. */
  json(): string {
    const { reports } = this;
    return `${JSON.stringify(this.several ? reports : reports[0], null, 2)}\n`;
  }
}

/** @throws {UsageError} if the file cannot be written. */
export function writeFile(path: string, text: string): void {
  writing(path, () => Deno.writeTextFileSync(path, text));
}

/**
 * To be called before the measurements, which would be lost after them; a file that is there stays
 * as it is.
 *
 * @throws {UsageError} if the file could not be written, or should not: what follows `--json` by
 * mistake, as in other programs it takes no file, is an option or the model.
 */
export function checkWritable(option: string, path: string): void {
  if (path.startsWith("-")) {
    throw new UsageError(`Cannot write ${path}: --${option} takes a file; write ./${path} for it`);
  }
  writing(path, () => {
    try {
      Deno.openSync(path, { write: true, createNew: true }).close();
      Deno.removeSync(path);
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      // Who reads a pipe takes its first closing for the end.
      if (Deno.statSync(path).isFifo) return;
      if (isModel(path)) {
        throw new UsageError(
          `Cannot write ${path}: it is a model; --${option} takes another file`,
        );
      }
      Deno.openSync(path, { write: true }).close();
    }
  });
}

function isModel(path: string): boolean {
  if (path.endsWith(".safetensors")) return true;
  using file = Deno.openSync(path, { read: true });
  const start = new Uint8Array(4);
  file.readSync(start);
  return new TextDecoder().decode(start) === "GGUF";
}

function writing(path: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`Cannot write ${path}: ${reason}`, { cause: error });
  }
}
