/** `--chat-template` and `--chat-template-file`: another template than the model's own. */

import { ModelFormatError, UnsupportedError } from "../engine/errors.ts";
import { printable } from "../engine/files/quote.ts";
import { NAMED_TEMPLATES } from "../engine/text/chat_names.ts";
import { renderChat } from "../engine/text/chat_template.ts";
import { UsageError } from "./exit_codes.ts";
import type { PromptValues } from "./options.ts";
import { readTextFile } from "./prompt_input.ts";

/**
 * The template that the options ask for, as Jinja text; undefined if they ask for none.
 *
 * @throws {UsageError} if it is no name, cannot be read, or does not render a message.
 */
export async function readChatTemplate(values: PromptValues): Promise<string | undefined> {
  const { chatTemplate: given, chatTemplateFile: path } = values;
  if (given === undefined && path === undefined) return undefined;
  if (given !== undefined && path !== undefined) {
    throw new UsageError("Cannot use both --chat-template and --chat-template-file: give one");
  }
  if (values.raw) {
    throw new UsageError(
      "Cannot use a chat template with --raw, which uses none: give one of them",
    );
  }
  const template = given === undefined ? await readTextFile(path!) : byName(given);
  try {
    // A mistake in it shows before the model is loaded; that it refuses this message is none.
    renderChat(template, [{ role: "user", content: "Hello" }]);
  } catch (error) {
    if (error instanceof ModelFormatError) throw new UsageError(error.message, { cause: error });
    if (!(error instanceof UnsupportedError)) throw error;
  }
  return template;
}

function byName(text: string): string {
  const named = NAMED_TEMPLATES.get(text);
  if (named !== undefined) return named;
  if (/\{[{%]/.test(text)) return text;
  const names = [...NAMED_TEMPLATES.keys()].join(", ");
  throw new UsageError(
    `Cannot use the chat template '${
      printable(text)
    }': it is none of ${names}, and as Jinja text ` +
      `it would have {{ or {%; --chat-template-file reads a file`,
  );
}
