/** `tvllm generate --prompts FILE`: many prompts at once, through one engine. */

import { describeAnswer } from "./answers.ts";
import { UsageError } from "./exit_codes.ts";
import { readStdin, readTextFile } from "./prompt_input.ts";
import { completed, type Reply, type Responder } from "./responder.ts";
import type { Terminal } from "./terminal.ts";
import { counted, milliseconds, tokenRate } from "./transfer.ts";

/** A prompt of many. */
export interface ManyPrompt {
  readonly prompt: string;
  /** What its JSON object says besides: goes with the answer. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * The prompts of a file: one a line, or, where the first line begins with `{`, one JSON object with
 * a "prompt" a line. Empty lines do not count.
 *
 * @throws {UsageError} that names the line that is not one.
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

/** How answers are printed: in order as text or one array, or as they come, a line each. */
export interface ManyFormat {
  readonly json?: true | undefined;
  readonly jsonl?: true | undefined;
}

/** Runs the answers together and prints them, each with what its prompt's object says. */
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
    // Its own fields count: a "model" of the prompt is not the one that answered.
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

/** The line above an answer: its id, or its number, and the prompt. */
function heading({ id, index, prompt }: { id?: unknown; index: number; prompt: string }): string {
  const name = typeof id === "string" || typeof id === "number" ? id : index + 1;
  return `## ${name}: ${prompt.replaceAll(/\s+/g, " ")}`;
}
