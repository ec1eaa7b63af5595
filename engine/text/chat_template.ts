/** A conversation made the text that a model was trained on, by the model's own Jinja template. */

import { Environment, parse, tokenize } from "./packages.ts";
import { ModelFormatError, RequestError } from "../errors.ts";
import { printable } from "../files/quote.ts";
import { CappedInterpreter } from "./capped_interpreter.ts";

/** Characters of a template; the longest known ones have 25,000. */
const MAX_TEMPLATE_LENGTH = 2 ** 18;
/** The library's lexer takes time quadratic in the length of a run of white space. */
const MAX_TEMPLATE_SPACES = 250;

/** What one side says in a conversation. */
export interface ChatMessage {
  /** "system", "user", "assistant", or what else the template knows. */
  readonly role: string;
  /** What it says. */
  readonly content: string;
}

export interface ChatOptions {
  /** Ends the text where the assistant's answer begins; default true. */
  readonly addGenerationPrompt?: boolean;
  readonly bosToken?: string;
  readonly eosToken?: string;
  /** More that the template may ask for, such as `enable_thinking` or `tools`. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** What `strftime_now` tells; default now. */
  readonly now?: Date;
}

/**
 * Renders the messages. The template runs within limits (template_limits.ts).
 *
 * @throws {ModelFormatError} if the template does not parse, fails, or reaches a limit.
 * @throws {RequestError} if the template refuses the messages by `raise_exception`.
 */
export function renderChat(
  template: string,
  messages: readonly ChatMessage[],
  options: ChatOptions = {},
): string {
  const program = parseTemplate(template);
  const environment = new Environment();
  const variables = {
    true: true,
    false: false,
    none: null,
    True: true,
    False: false,
    None: null,
    raise_exception: (message: unknown) => {
      throw new Refusal(String(message));
    },
    strftime_now: (format: unknown) => strftime(options.now ?? new Date(), String(format)),
    messages,
    add_generation_prompt: options.addGenerationPrompt ?? true,
    bos_token: options.bosToken ?? "",
    eos_token: options.eosToken ?? "",
  };
  for (const [name, value] of Object.entries({ ...variables, ...options.variables })) {
    environment.set(name, value);
  }
  try {
    const inputLength = JSON.stringify([messages, options.variables]).length;
    const interpreter = new CappedInterpreter(environment, template.length, inputLength);
    return String(interpreter.run(program).value);
  } catch (error) {
    throw failure(error);
  }
}

type Program = ReturnType<typeof parse>;

function parseTemplate(template: string): Program {
  if (template.length > MAX_TEMPLATE_LENGTH) {
    throw fault(`it has ${template.length} characters, above the limit of ${MAX_TEMPLATE_LENGTH}`);
  }
  if (new RegExp(`\\s{${MAX_TEMPLATE_SPACES + 1}}`).test(template)) {
    throw fault(`it has more than ${MAX_TEMPLATE_SPACES} spaces or line ends in a row`);
  }
  try {
    return parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true }));
  } catch (error) {
    // Past the last token the library reads a property of undefined.
    throw error instanceof TypeError ? fault("it ends within a statement") : failure(error);
  }
}

class Refusal extends Error {}

function failure(error: unknown): Error {
  if (error instanceof Refusal) {
    return new RequestError(
      `Cannot render the chat template: it refuses the messages: ${oneLine(error.message)}`,
    );
  }
  if (error instanceof RangeError) {
    // V8's own limits: the stack, or the length of a string.
    return fault("it nests too deep or makes too long a text");
  }
  return fault(oneLine(error instanceof Error ? error.message : String(error)));
}

function oneLine(message: string): string {
  return printable(message.trim().replace(/\s+/g, " ").slice(0, 300));
}

function fault(what: string): ModelFormatError {
  return new ModelFormatError(
    `Cannot render the chat template: ${what}; give another one, or use none (--raw)`,
  );
}

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS =
  "January February March April May June July August September October November December"
    .split(" ");

/** Python's strftime for what templates ask of it, in English whatever the locale. */
function strftime(date: Date, format: string): string {
  const two = (n: number) => String(n).padStart(2, "0");
  const parts: Record<string, string> = {
    Y: String(date.getFullYear()),
    y: two(date.getFullYear() % 100),
    m: two(date.getMonth() + 1),
    d: two(date.getDate()),
    B: MONTHS[date.getMonth()]!,
    b: MONTHS[date.getMonth()]!.slice(0, 3),
    A: DAYS[date.getDay()]!,
    a: DAYS[date.getDay()]!.slice(0, 3),
    H: two(date.getHours()),
    M: two(date.getMinutes()),
    S: two(date.getSeconds()),
    "%": "%",
  };
  return format.replace(/%(.)/g, (match, letter) => parts[letter] ?? match);
}
