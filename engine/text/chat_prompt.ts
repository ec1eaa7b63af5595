/** A conversation made token ids, what users write staying text. */

import { RequestError } from "../errors.ts";
import type { MetadataValue } from "../files/model_file.ts";
import { type ChatMessage, type ChatOptions, renderChat } from "./chat_template.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** How Qwen, SmolLM and many others were trained. */
export const CHATML_TEMPLATE = "{% for message in messages %}" +
  "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/**
 * The template of a model: its own (`tokenizer.chat_template`), else ChatML where the vocabulary has
 * ChatML's tokens; undefined for models that were trained on no chats.
 */
export function chatTemplate(
  metadata: ReadonlyMap<string, MetadataValue>,
  tokenizer: Tokenizer,
): string | undefined {
  const own = metadata.get("tokenizer.chat_template");
  if (typeof own === "string" && own.trim() !== "") return own;
  const isToken = (text: string) => typeof tokenizer.splitControl(text)[0] === "number";
  return isToken("<|im_start|>") && isToken("<|im_end|>") ? CHATML_TEMPLATE : undefined;
}

/** How messages are rendered: by which template, as Jinja text, and with what else it asks for. */
export interface EncodeChatOptions extends Omit<ChatOptions, "bosToken" | "eosToken"> {
  readonly template: string;
}

/**
 * Renders and encodes the messages. Control tokens that the template writes become tokens; those
 * that stand in the messages or in `variables` stay text. Otherwise the ids are those of the
 * rendered text.
 *
 * @throws {ModelFormatError | RequestError} as `renderChat` does.
 */
export function encodeChat(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  { template, ...options }: EncodeChatOptions,
): number[] {
  const mark = unusedMark(JSON.stringify([template, messages, options.variables]));
  const masked = (value: unknown) => maskControl(tokenizer, value, mark);
  const { bosId, eosId } = tokenizer;
  const text = renderChat(template, masked(messages) as ChatMessage[], {
    ...options,
    bosToken: bosId === undefined ? "" : tokenizer.spelling(bosId),
    eosToken: eosId === undefined ? "" : tokenizer.spelling(eosId),
    variables: masked(options.variables ?? {}) as Record<string, unknown>,
  });
  return tokenizer.encode(text, { special: true, without: mark });
}

/**
 * A character that none of the text has, to break up control tokens with. The template sees the
 * text otherwise unchanged, so it may trim and compare it. U+FDD0 … U+FDEF are noncharacters:
 * reserved for such use, never text.
 */
function unusedMark(json: string): string {
  for (let code = 0xfdd0; code <= 0xfdef; code++) {
    const mark = String.fromCharCode(code);
    if (!json.includes(mark)) return mark;
  }
  throw new RequestError("Cannot encode the messages: they use every noncharacter of Unicode");
}

/** Puts `mark` into each control token in the value's strings, and into one that the end begins. */
function maskControl(tokenizer: Tokenizer, value: unknown, mark: string): unknown {
  if (typeof value === "string") {
    const text = value.toWellFormed();
    const open = text.length - tokenizer.openControlEnd(text);
    const broken = (token: string) => token.replaceAll(/./gsu, `$&${mark}`);
    const masked = tokenizer.splitControl(text.slice(0, open))
      .map((part) => typeof part === "number" ? broken(tokenizer.spelling(part)) : part);
    return masked.join("") + broken(text.slice(open));
  }
  if (Array.isArray(value)) return value.map((item) => maskControl(tokenizer, item, mark));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, maskControl(tokenizer, item, mark)]),
  );
}
