/** `tvllm generate --prompts FILE`: answers many prompts at the same time with one engine. */

import { EndpointError } from "../client/errors.ts";
import { describeAnswer } from "./answers.ts";
import { unescaped } from "./escapes.ts";
import { UsageError } from "./exit_codes.ts";
import { readStdin, readTextFile } from "./prompt_input.ts";
import { completed, type Reply, type ReplySummary, type Responder } from "./responder.ts";
import type { Terminal } from "./terminal.ts";
import { withoutThoughts } from "./thinking.ts";
import { counted, milliseconds, tokenRate } from "./transfer.ts";

/** One of many prompts. */
export interface ManyPrompt {
  readonly prompt: string;
  /** The other fields of its JSON object. They are copied to the answer. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** The file of the prompts. */
export interface PromptFile {
  /** `-` for standard input. */
  readonly path: string;
  /** Process backslash escapes in lines of text. JSON has its own. */
  readonly escape: boolean;
}

/**
 * Reads the prompts in a file, one per line. If the first line begins with `{`, each line is a JSON
 * object with a "prompt". Empty lines are skipped.
 *
 * @throws {UsageError} that gives the number of the first invalid line, or if there is no prompt.
 */
export async function readPrompts(
  { path, escape }: PromptFile,
  terminal: Terminal,
): Promise<ManyPrompt[]> {
  const text = path === "-" ? await readStdin(terminal) : await readTextFile(path);
  const lines = text.split(/\r?\n/);
  const json = lines.find((line) => line.trim() !== "")?.startsWith("{") ?? false;
  const prompts: ManyPrompt[] = [];
  for (const [i, line] of lines.entries()) {
    if (line.trim() === "") continue;
    prompts.push(
      json ? promptOf(line, i + 1, path) : { prompt: escape ? unescaped(line) : line, fields: {} },
    );
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
  /** If false, the thoughts of the model are left out. */
  readonly thinking?: boolean | undefined;
}

/** A prompt and its answer. */
type Answering = ManyPrompt & { readonly reply: Reply };

/** An answer that failed. */
interface Failure {
  /** The number of its prompt, from 0. */
  readonly index: number;
  readonly error: unknown;
}

/** Number of failed prompts that an error lists. */
const LISTED = 10;

/**
 * Generates the answers at the same time and prints them, each with the fields of its prompt. If
 * some fail, the others are completed and printed.
 *
 * @throws the error of the first prompt that failed, after all answers are printed.
 */
export async function printAnswers(
  responder: Responder,
  answers: readonly Answering[],
  { terminal, ...format }: ManyFormat & { readonly terminal: Terminal },
): Promise<void> {
  const started = performance.now();
  const failures: Failure[] = [];
  const summaries: ReplySummary[] = [];
  const printer = new AnswerPrinter(answers.length, format, terminal);
  await Promise.all(answers.map(async ({ reply, prompt, fields }, index) => {
    try {
      summaries.push(await completed(reply));
    } catch (error) {
      failures.push({ index, error });
    }
    const { summary } = reply;
    if (summary === undefined) return printer.skip(index);
    const about = describeAnswer(responder, summary);
    const { details } = summary;
    const text = format.thinking === false
      ? withoutThoughts(summary.text, reply.thinks)
      : summary.text;
    // The answer's fields override the prompt's: a "model" there is not the one that answered.
    printer.print({ ...fields, index, prompt, ...about, text, ...details });
  }));
  printer.end();
  if (summaries.length > 0) {
    terminal.note(totals(summaries, (performance.now() - started) / 1000));
  }
  if (failures.length > 0) throw failureOf(failures, answers.length);
}

/** The JSON object of an answer, with the fields of its prompt. */
interface AnswerObject {
  readonly index: number;
  readonly prompt: string;
  readonly text: string;
  readonly id?: unknown;
  readonly error?: string;
}

/** Prints answers that complete in any order. */
class AnswerPrinter {
  readonly #format: ManyFormat;
  readonly #terminal: Terminal;
  /** The text of each answer; "" if it has none, undefined if it is not complete. */
  readonly #texts: (string | undefined)[];
  /** Number of answers that are printed or have no text. */
  #passed = 0;
  #separator = "";

  constructor(answers: number, format: ManyFormat, terminal: Terminal) {
    this.#texts = Array.from({ length: answers }, () => undefined);
    this.#format = format;
    this.#terminal = terminal;
  }

  print(answer: AnswerObject): void {
    const { json, jsonl } = this.#format;
    const { index, text, error } = answer;
    if (jsonl) return this.#terminal.write(`${JSON.stringify(answer)}\n`);
    if (json) {
      this.#texts[index] = JSON.stringify(answer);
    } else if (error !== undefined && text === "") {
      this.skip(index);
    } else {
      this.#texts[index] = `${heading(answer)}\n${text.trimEnd()}\n`;
      this.#proceed();
    }
  }

  /** Passes over an answer that failed and has no text. */
  skip(index: number): void {
    this.#texts[index] = "";
    this.#proceed();
  }

  /** Prints the array of --json. */
  end(): void {
    if (!this.#format.json) return;
    this.#terminal.write(`[${this.#texts.filter(Boolean).join(",\n")}]\n`);
  }

  /** Prints the texts whose turn it is. */
  #proceed(): void {
    if (this.#format.json || this.#format.jsonl) return;
    for (let text; (text = this.#texts[this.#passed]) !== undefined; this.#passed++) {
      if (text === "") continue;
      this.#terminal.write(this.#separator + text);
      this.#separator = "\n";
    }
  }
}

function totals(summaries: readonly ReplySummary[], seconds: number): string {
  const tokens = summaries.reduce((sum, { tokens }) => sum + tokens, 0);
  const prefixHits = summaries.filter(({ cached }) => cached > 0).length;
  const tokensSaved = summaries.reduce((sum, { cached }) => sum + cached, 0);
  return `${counted(summaries.length, "answer")}, ${counted(tokens, "token")} in ` +
    `${milliseconds(1000 * seconds)} (${tokenRate(tokens / seconds)})` +
    (prefixHits === 0
      ? ""
      : `; ${counted(prefixHits, "prompt")} shared a beginning with an earlier one, which saved ` +
        `${counted(tokensSaved, "token")}`);
}

/** Returns the first prompt's error. That of a server is preceded by the failed prompts. */
function failureOf(failures: readonly Failure[], total: number): unknown {
  const sorted = failures.toSorted((a, b) => a.index - b.index);
  const { error, index } = sorted[0]!;
  if (!(error instanceof EndpointError)) return error;
  const numbers = sorted.slice(0, LISTED).map(({ index }) => index + 1).join(", ");
  const which = sorted.length === 1
    ? `prompt ${index + 1} of ${total}`
    : `${sorted.length} of ${total} prompts (${numbers}${sorted.length > LISTED ? ", …" : ""})`;
  return new EndpointError(`Cannot answer ${which}: ${error.message}`, { cause: error });
}

/** Returns the line above an answer: its id or number, and the prompt. */
function heading({ id, index, prompt }: AnswerObject): string {
  const name = typeof id === "string" || typeof id === "number" ? id : index + 1;
  return `## ${name}: ${prompt.replaceAll(/\s+/g, " ")}`;
}
