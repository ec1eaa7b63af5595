/** A conversation made the text that a model was trained on, by the model's own Jinja template. */

import { Environment, parse, tokenize } from "./packages.ts";
import { ModelFormatError, RequestError } from "../errors.ts";
import { printable } from "../files/quote.ts";
import { CappedInterpreter } from "./capped_interpreter.ts";
import { strftime } from "./strftime.ts";

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
  /** What errors call the template; default "the chat template". */
  readonly templateName?: string;
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
  const { templateName = "the chat template" } = options;
  try {
    return rendered(template, messages, options);
  } catch (error) {
    if (error instanceof Refusal) {
      throw new RequestError(
        `Cannot render ${templateName}: it rejects the messages: ${oneLine(error.message)}`,
      );
    }
    throw new ModelFormatError(
      `Cannot render ${templateName}: ${reason(error)}; use another one, or none (--raw)`,
    );
  }
}

function rendered(
  template: string,
  messages: readonly ChatMessage[],
  options: ChatOptions,
): string {
  // Jinja2's lexer does so: "\r" at a line's end would be written for every line.
  const program = parseTemplate(template.replace(/\r\n?/g, "\n"));
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
    // As transformers calls a template without tools: it may tell None from what is not defined.
    tools: null,
    documents: null,
    add_generation_prompt: options.addGenerationPrompt ?? true,
    bos_token: options.bosToken ?? "",
    eos_token: options.eosToken ?? "",
  };
  for (const [name, value] of Object.entries({ ...variables, ...options.variables })) {
    environment.set(name, value);
  }
  const inputLength = JSON.stringify([messages, options.variables]).length;
  const interpreter = new CappedInterpreter(environment, template.length, inputLength);
  return String(interpreter.run(program).value);
}

type Program = ReturnType<typeof parse>;

function parseTemplate(template: string): Program {
  if (template.length > MAX_TEMPLATE_LENGTH) {
    throw new Error(
      `it has ${template.length} characters, above the limit of ${MAX_TEMPLATE_LENGTH}`,
    );
  }
  if (new RegExp(`\\s{${MAX_TEMPLATE_SPACES + 1}}`).test(template)) {
    throw new Error(`it has more than ${MAX_TEMPLATE_SPACES} spaces or line breaks in a row`);
  }
  try {
    return parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true }));
  } catch (error) {
    // Past the last token the library reads a property of undefined.
    throw error instanceof TypeError ? new Error("it ends in the middle of a statement") : error;
  }
}

/** The template refuses the messages by `raise_exception`. */
class Refusal extends Error {}

function reason(error: unknown): string {
  // V8's own limits: the stack, or the length of a string.
  if (error instanceof RangeError) return "it is nested too deeply or produces too long a text";
  return oneLine(error instanceof Error ? error.message : String(error));
}

function oneLine(message: string): string {
  return printable(message.trim().replace(/\s+/g, " ").slice(0, 300));
}
