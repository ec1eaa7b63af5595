/** `tvllm bench SUITE --endpoint URL`: measures a server. */

import { Harness } from "../bench/harness/harness.ts";
import { makePrompts } from "../bench/harness/prompts.ts";
import { toMarkdown } from "../bench/report/markdown.ts";
import type { Report } from "../bench/report/report.ts";
import { SERVER_SUITES, SUITES } from "../bench/suites/mod.ts";
import { EndpointClient } from "../bench/targets/endpoint_client.ts";
import { EndpointTarget } from "../bench/targets/endpoint_target.ts";
import { EndpointError } from "../client/errors.ts";
import { openModelFile } from "../engine/files/open_model.ts";
import { encodeText } from "../engine/prompt.ts";
import { modelTokenizer } from "../engine/text/model_tokenizer.ts";
import { describeTvllm } from "./bench_program.ts";
import { failIfCasesFailed, failIfChecksFailed } from "./bench_failures.ts";
import type { BenchValues, Place, Plan } from "./bench_models.ts";
import { writeCharts, writePage } from "./chart_file.ts";
import type { EndpointChoice } from "./endpoint_options.ts";
import { UsageError } from "./exit_codes.ts";
import { Interrupts } from "./interrupt.ts";
import { ReportFiles } from "./report_files.ts";
import { SuiteLine } from "./suite_progress.ts";

/** Characters of the sample text by which the length of the server's tokens is estimated. */
const SAMPLE_LETTERS = 1600;

/**
 * Runs the plans against the server.
 *
 * @throws {UsageError} if a suite needs access to the engine, or the server cannot be used.
 */
export async function benchEndpoint(
  plans: readonly Plan[],
  values: Omit<BenchValues, "models" | "devices">,
  { terminal, launch, startup, endpoint }: Place & { readonly endpoint: EndpointChoice },
): Promise<void> {
  checkPlans(plans, values);
  const { files, format, explain } = values;
  const markdown = { explain: explain === true };
  const writer = new ReportFiles(files, { several: values.several, markdown });
  using interrupts = new Interrupts();
  const { signal } = interrupts;
  const program = { ...describeTvllm(launch), kvType: "f16" as const, startup };
  try {
    const countTokens = values.tokenizer === undefined ? undefined : counter(values.tokenizer);
    const client = await EndpointClient.open({ ...endpoint, signal, countTokens });
    const target = await EndpointTarget.open(client, program, sampleText());
    for (const [i, { suite, run }] of plans.entries()) {
      const place = { name: suite.name, number: i + 1, suites: plans.length };
      using line = new SuiteLine(place, terminal);
      let latest: Report | undefined;
      try {
        await Harness.run(suite, target, {
          ...{ run, signal },
          save: (report) => writer.save(report.suite, latest = report),
          progress: (progress) => line.update(progress),
        });
      } finally {
        if (latest && format === "md") terminal.write(toMarkdown(latest, markdown));
      }
      if (signal.aborted) break;
    }
  } catch (error) {
    if (!signal.aborted) throw error instanceof EndpointError ? usageError(error) : error;
  }
  if (format !== "md" && writer.reports.length > 0) terminal.write(writer[format]());
  if (files.chart) await writeCharts(files.chart, writer.reports, terminal);
  if (files.html) await writePage(files.html, writer.reports);
  signal.throwIfAborted();
  failIfChecksFailed(writer.reports);
  failIfCasesFailed(writer.reports);
}

/** Returns a function that counts tokens with the tokenizer of the model file at `path`. */
function counter(path: string): (text: string) => number {
  const file = openModelFile(path, { anyType: true });
  try {
    const tokenizer = modelTokenizer(file);
    return (text) => encodeText(tokenizer, text).length;
  } finally {
    file.close();
  }
}

function usageError(error: EndpointError): UsageError {
  return new UsageError(error.message, { cause: error });
}

function checkPlans(plans: readonly Plan[], values: Omit<BenchValues, "models" | "devices">): void {
  const inside = plans.find(({ suite, needs }) => !suite.endpoint || needs.baseline !== undefined);
  if (inside) {
    const names = [...SUITES, ...SERVER_SUITES].filter(({ endpoint }) => endpoint).map(({ name }) =>
      name
    );
    throw new UsageError(
      `Cannot run bench ${inside.suite.name} on an endpoint: it measures inside the engine; ` +
        `use ${names.slice(0, -1).join(", ")} or ${names.at(-1)}`,
    );
  }
  if (plans.some(({ run }) => run.suiteOptions.batch !== undefined)) {
    throw new UsageError("Cannot use --batch with --endpoint: the server decides on its steps");
  }
  const option = (["verify", "bandwidth"] as const).find((name) => values[name] !== undefined) ??
    (values.files.trace ? "trace" : undefined);
  if (option) {
    throw new UsageError(
      `Cannot use --${option} with --endpoint: it needs a model on this machine`,
    );
  }
}

/** Returns a text of the same kind as the prompts. */
function sampleText(): string {
  let text = "";
  const keep = { encode: (given: string) => (text = given, Array.from(given, () => 0)) };
  makePrompts(keep, { count: 1, tokens: SAMPLE_LETTERS, seed: 0 });
  return text.slice(0, SAMPLE_LETTERS);
}
