/** `tvllm generate --prompts FILE`: answers many prompts at the same time with one engine. */

import { describeAnswer } from "./answers.ts";
import { UsageError } from "./exit_codes.ts";
import { readStdin, readTextFile } from "./prompt_input.ts";
import { completed, type Reply, type Responder } from "./responder.ts";
import type { Terminal } from "./terminal.ts";
import { counted, milliseconds, tokenRate } from "./transfer.ts";

/** One of many prompts. */
export interface ManyPrompt {
  readonly prompt: string;
  /** The other fields of its JSON object. They are copied to the answer. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * Reads the prompts in a file, one per line. If the first line begins with `{`, each line is a JSON
 * object with a "prompt". Empty lines are skipped.
 *
 * @throws {UsageError} that gives the number of the first invalid line, or if there is no prompt.
 */
export async function readPrompts(path: string, terminal: Terminal): Promise<ManyPrompt[]> {
  const text = path === "-" ? await readStdin(terminal) : await readTextFile(path);
  const lines = text.split(/\r?\n/);
  const json = lines.find((line) => line.trim() !== "")?.startsWith("{") ?? false;
  const prompts: ManyPrompt[] = [];
  for (const [i, line] of lines.entries()) {
    if (line.trim() === "") continue;
    prompts.push(json ? promptOf(line, i + 1, path) : { prompt: line, fields: {} });
  }
  if (prompts.length === 0) throw new UsageError(`Cannot read prompts from ${path}: it is empty`);
  return prompts;
}

function promptOf(line: string, number: number, path: string): ManyPrompt {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    value = undefined;
  }
  const { prompt, ...fields } = (value ?? {}) as Record<string, unknown>;
  if (typeof prompt === "string") return { prompt, fields };
  throw new UsageError(
    `Cannot read line ${number} of ${path}: expected a JSON object with a text "prompt"`,
  );
}

/**
 * Formats of the answers: text (the default) or one JSON array, both in the order of the prompts;
 * or lines of JSON in the order in which the answers complete.
 */
export interface ManyFormat {
  readonly json?: true | undefined;
  readonly jsonl?: true | undefined;
}

/** Generates the answers at the same time and prints them, each with the fields of its prompt. */
export async function printAnswers(
  responder: Responder,
  answers: readonly (ManyPrompt & { readonly reply: Reply })[],
  { terminal, ...format }: ManyFormat & { readonly terminal: Terminal },
): Promise<void> {
  const started = performance.now();
  let printed = 0;
  const done: (string | undefined)[] = answers.map(() => undefined);
  await Promise.all(answers.map(async ({ reply, prompt, fields }, index) => {
    const summary = await completed(reply);
    const { text, details } = summary;
    const about = describeAnswer(responder, summary);
    // The answer's fields override the prompt's: a "model" there is not the one that answered.
    const object = { ...fields, index, prompt, ...about, text, ...details };
    if (format.jsonl) terminal.write(`${JSON.stringify(object)}\n`);
    done[index] = format.json ? JSON.stringify(object) : `${heading(object)}\n${text.trimEnd()}\n`;
    if (format.json || format.jsonl) return;
    for (; done[printed] !== undefined; printed++) {
      terminal.write(`${printed > 0 ? "\n" : ""}${done[printed]}`);
    }
  }));
  if (format.json) terminal.write(`[${done.join(",\n")}]\n`);
  const summaries = answers.map(({ reply }) => reply.summary!);
  const tokens = summaries.reduce((sum, { tokens }) => sum + tokens, 0);
  const seconds = (performance.now() - started) / 1000;
  const prefixHits = summaries.filter(({ cached }) => cached > 0).length;
  const tokensSaved = summaries.reduce((sum, { cached }) => sum + cached, 0);
  terminal.note(
    `${counted(answers.length, "answer")}, ${counted(tokens, "token")} in ` +
      `${milliseconds(1000 * seconds)} (${tokenRate(tokens / seconds)})` +
      (prefixHits === 0
        ? ""
        : `; ${
          counted(prefixHits, "prompt")
        } shared a beginning with an earlier one, which saved ` +
          `${counted(tokensSaved, "token")}`),
  );
}

/** Returns the line above an answer: its id or number, and the prompt. */
function heading({ id, index, prompt }: { id?: unknown; index: number; prompt: string }): string {
  const name = typeof id === "string" || typeof id === "number" ? id : index + 1;
  return `## ${name}: ${prompt.replaceAll(/\s+/g, " ")}`;
}
