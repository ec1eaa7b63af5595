/**
 * Renders a conversation with the model's own Jinja template to the text that it was trained on.
 */

import { Environment, parse, tokenize } from "./packages.ts";
import { ModelFormatError, RequestError } from "../errors.ts";
import { printable } from "../files/quote.ts";
import { CappedInterpreter } from "./capped_interpreter.ts";
import { strftime } from "./strftime.ts";

/** Longest template in characters. The longest known ones have 25,000. */
const MAX_TEMPLATE_LENGTH = 2 ** 18;
/** Longest run of white space. The library's lexer takes time quadratic in its length. */
const MAX_TEMPLATE_SPACES = 250;

/** A message of a conversation. */
export interface ChatMessage {
  /** "system", "user", "assistant", or another role that the template supports. */
  readonly role: string;
  /** The text of the message. */
  readonly content: string;
}

export interface ChatOptions {
  /** Whether the text ends with the start of an assistant message; default true. */
  readonly addGenerationPrompt?: boolean;
  readonly bosToken?: string;
  readonly eosToken?: string;
  /** Other variables of the template, such as `enable_thinking` or `tools`. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** The time that `strftime_now` formats; default now. */
  readonly now?: Date;
  /** Name of the template in errors; default "the chat template". */
  readonly templateName?: string;
}

/**
 * Renders the messages. The template runs within limits (template_limits.ts).
 *
 * @throws {ModelFormatError} if the template does not parse, fails, or reaches a limit.
 * @throws {RequestError} if the template rejects the messages by calling `raise_exception`.
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
  // As Jinja2's lexer does. Otherwise every line would be written with a "\r" at its end.
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
    // transformers passes None if there are no tools, and a template may distinguish None from an
    // undefined variable.
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
    // If the template ends early, the library reads a property of undefined.
    throw error instanceof TypeError ? new Error("it ends in the middle of a statement") : error;
  }
}

/** Thrown when the template calls `raise_exception` to reject the messages. */
class Refusal extends Error {}

function reason(error: unknown): string {
  // V8's own limits of the stack and of the length of a string.
  if (error instanceof RangeError) return "it is nested too deeply or produces too long a text";
  return oneLine(error instanceof Error ? error.message : String(error));
}

function oneLine(message: string): string {
  return printable(message.trim().replace(/\s+/g, " ").slice(0, 300));
}
