/** `tvllm generate --prompts FILE`: many prompts at once, through one engine. */

import type { Model } from "../engine/mod.ts";
import type { Answer } from "../engine/run/answer.ts";
import { describeAnswer } from "./answers.ts";
import { UsageError } from "./exit_codes.ts";
import { readStdin, readTextFile } from "./prompt_input.ts";
import type { Terminal } from "./terminal.ts";

/**
 * The prompts of a file: one a line, or, where the first line begins with `{`, one JSON object with
 * a "prompt" a line. Empty lines do not count.
 *
 * @throws {UsageError} that names the line that is not one.
 */
export async function readPrompts(path: string, terminal: Terminal): Promise<string[]> {
  const text = path === "-" ? await readStdin(terminal) : await readTextFile(path);
  // Windows programs begin a file with a mark of its encoding.
  const lines = text.replace(/^\ufeff/, "").split(/\r?\n/);
  const json = lines.find((line) => line.trim() !== "")?.startsWith("{") ?? false;
  const prompts: string[] = [];
  for (const [i, line] of lines.entries()) {
    if (line.trim() !== "") prompts.push(json ? promptOf(line, i + 1, path) : line);
  }
  if (prompts.length === 0) throw new UsageError(`Cannot find a prompt in ${path}: it is empty`);
  return prompts;
}

function promptOf(line: string, number: number, path: string): string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    value = undefined;
  }
  const prompt = (value as { prompt?: unknown } | null | undefined)?.prompt;
  if (typeof prompt === "string") return prompt;
  throw new UsageError(
    `Cannot read line ${number} of ${path}: expected a JSON object with a text "prompt"`,
  );
}

/** How answers are printed: in order as text or one array, or as they come, a line each. */
export interface ManyFormat {
  readonly json?: true | undefined;
  readonly jsonl?: true | undefined;
}

/** Runs the answers together and prints them. */
export async function printAnswers(
  model: Model,
  answers: readonly Answer[],
  { terminal, ...format }: ManyFormat & { readonly terminal: Terminal },
): Promise<void> {
  const started = performance.now();
  let printed = 0;
  const done: (string | undefined)[] = answers.map(() => undefined);
  await Promise.all(answers.map(async (answer, index) => {
    const summary = await answer.complete();
    const { text, ids } = summary;
    const object = { index, ...describeAnswer(model, summary), text, tokens: ids };
    if (format.jsonl) terminal.write(`${JSON.stringify(object)}\n`);
    done[index] = format.json ? JSON.stringify(object) : `${text.trimEnd()}\n`;
    if (format.json || format.jsonl) return;
    for (; done[printed] !== undefined; printed++) {
      terminal.write(`${printed > 0 ? "\n" : ""}${done[printed]}`);
    }
  }));
  if (format.json) terminal.write(`[${done.join(",\n")}]\n`);
  const tokens = answers.reduce((sum, answer) => sum + answer.summary!.ids.length, 0);
  const seconds = (performance.now() - started) / 1000;
  const { prefixHits, tokensSaved } = model.engine.stats.prefix;
  terminal.note(
    `${answers.length} answers, ${tokens} tokens in ${seconds.toFixed(2)} s ` +
      `(${
        (tokens / seconds).toFixed(1)
      } tok/s); ${prefixHits} prefix hits saved ${tokensSaved} tokens`,
  );
}
