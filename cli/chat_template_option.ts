/** `--chat-template` and `--chat-template-file`: another template than the model's own. */

import { UsageError } from "./exit_codes.ts";
import type { PromptValues } from "./options.ts";
import { readTextFile } from "./prompt_input.ts";

/**
 * The template that the options ask for, by its name or as Jinja text; undefined if they ask for none.
 *
 * @throws {UsageError} if they ask for two, or the file cannot be read.
 */
export async function readChatTemplate(values: PromptValues): Promise<string | undefined> {
  const { chatTemplate, chatTemplateFile } = values;
  if (chatTemplate !== undefined && chatTemplateFile !== undefined) {
    throw new UsageError("Cannot use both --chat-template and --chat-template-file: give one");
  }
  return chatTemplateFile === undefined ? chatTemplate : await readTextFile(chatTemplateFile);
}
