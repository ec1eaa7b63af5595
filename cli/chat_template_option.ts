/** `--chat-template` and `--chat-template-file`: replace the model's own template. */

import { UsageError } from "./exit_codes.ts";
import type { PromptValues } from "./options.ts";
import { readTextFile } from "./prompt_input.ts";

/**
 * Returns the template that the options select, as a name or as Jinja source; undefined if they
 * select none.
 *
 * @throws {UsageError} if both options are given, or the file cannot be read.
 */
export async function readChatTemplate(values: PromptValues): Promise<string | undefined> {
  const { chatTemplate, chatTemplateFile } = values;
  if (chatTemplate !== undefined && chatTemplateFile !== undefined) {
    throw new UsageError("Cannot use both --chat-template and --chat-template-file: give one");
  }
  return chatTemplateFile === undefined ? chatTemplate : await readTextFile(chatTemplateFile);
}
