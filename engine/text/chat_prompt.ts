/**
 * Encodes a conversation as token ids, and keeps control tokens in users' text from taking effect.
 */

import { RequestError } from "../errors.ts";
import { printable } from "../files/quote.ts";
import type { MetadataValue } from "../files/model_file.ts";
import { type ChatMessage, type ChatOptions, renderChat } from "./chat_template.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** The format on which Qwen, SmolLM and many others were trained. */
export const CHATML_TEMPLATE = "{% for message in messages %}" +
  "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/**
 * Returns the template of a model: its own (`tokenizer.chat_template`), or else ChatML if the
 * vocabulary has ChatML's tokens. Returns undefined for models that were not trained on chats.
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

/** Options for rendering and encoding messages. */
export interface EncodeChatOptions extends Omit<ChatOptions, "bosToken" | "eosToken"> {
  /** The template, as Jinja source. */
  readonly template: string;
}

/**
 * Renders and encodes the messages. Control tokens that the template writes are encoded as such,
 * while those in the messages or in `variables` are encoded as ordinary text. Everything else is
 * encoded like the rendered text.
 *
 * @throws {ModelFormatError | RequestError} as `renderChat` does; RequestError also if the messages
 * or `variables` are no JSON values.
 */
export function encodeChat(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  { template, ...options }: EncodeChatOptions,
): number[] {
  const { mark, safe, variables } = fromJson(() => {
    const mark = unusedMark(JSON.stringify([template, messages, options.variables]));
    const masked = (value: unknown) => maskControl(tokenizer, value, mark);
    return {
      mark,
      safe: masked(messages) as ChatMessage[],
      variables: masked(options.variables ?? {}) as Record<string, unknown>,
    };
  });
  const { bosId, eosId } = tokenizer;
  const render = (messages: readonly ChatMessage[]) =>
    renderChat(template, messages, {
      ...options,
      bosToken: bosId === undefined ? "" : tokenizer.spelling(bosId),
      eosToken: eosId === undefined ? "" : tokenizer.spelling(eosId),
      variables,
    });
  const text = render(safe);
  return tokenizer.encode(
    text.includes(mark) || mayBecomeControl(tokenizer, messages)
      ? withoutMadeTokens(tokenizer, text, () => render(safe.map((m) => broken(m, mark))))
      : text,
    { special: true, without: mark },
  );
}

/**
 * Whether a template could turn the messages into a control token by changing case, removing
 * characters or joining pieces. This is assumed if the messages contain every sign (a character
 * other than letters, digits, white space and underscores) of a control token.
 */
function mayBecomeControl(tokenizer: Tokenizer, messages: readonly ChatMessage[]): boolean {
  const characters = new Set(messages.map(({ content }) => content).join("").toLowerCase());
  return tokenizer.controlSpellings().some((token) => {
    const signs = token.toLowerCase().match(/[^\p{L}\p{N}\s_]/gu) ?? [];
    return signs.length > 0 && signs.every((sign) => characters.has(sign));
  });
}

/**
 * Renders the template once more, with messages in which no two adjacent characters can be part of
 * one control token. Returns `text` if both results have the same control tokens, and else that
 * second result.
 */
function withoutMadeTokens(tokenizer: Tokenizer, text: string, render: () => string): string {
  let certain: string;
  try {
    certain = render();
  } catch {
    return text; // The template checks the content and rejects the marked one.
  }
  const tokensOf = (text: string) =>
    tokenizer.splitControl(text).filter((part) => typeof part === "number").join();
  return tokensOf(text) === tokensOf(certain) ? text : certain;
}

/** Returns the message with the mark after every character of its content. */
function broken(message: ChatMessage, mark: string): ChatMessage {
  const { content } = message;
  if (typeof content !== "string") return message;
  return { ...message, content: content.replaceAll(mark, "").replaceAll(/./gsu, `$&${mark}`) };
}

/**
 * Calls `convert`, which converts values that the caller gave.
 *
 * @throws {RequestError} if a value is cyclic, is a BigInt, or is nested too deeply.
 */
function fromJson<T>(convert: () => T): T {
  try {
    return convert();
  } catch (cause) {
    if (cause instanceof RequestError) throw cause;
    const [reason] = (cause instanceof Error ? cause.message : String(cause)).split("\n");
    throw new RequestError(
      `Cannot encode the messages: they or the template variables are no JSON values: ${
        printable(reason!)
      }`,
      { cause },
    );
  }
}

/**
 * Returns a character that does not occur in the text, with which control tokens are broken up. The
 * template receives the text otherwise unchanged, so it can trim and compare it. U+FDD0 … U+FDEF
 * are noncharacters: they are reserved for such internal use and do not occur in text.
 */
function unusedMark(json: string): string {
  for (let code = 0xfdd0; code <= 0xfdef; code++) {
    const mark = String.fromCharCode(code);
    if (!json.includes(mark)) return mark;
  }
  throw new RequestError(
    "Cannot encode the messages: they contain all noncharacters from U+FDD0 to U+FDEF; remove one",
  );
}

/**
 * Returns the value with `mark` inserted in each control token in its strings, and in the start of
 * a control token at the end of a string.
 */
function maskControl(tokenizer: Tokenizer, value: unknown, mark: string): unknown {
  if (typeof value === "string") {
    const text = value.toWellFormed();
    const open = text.length - tokenizer.openControlEnd(text);
    const marked = (token: string) => token.replaceAll(/./gsu, `$&${mark}`);
    const masked = tokenizer.splitControl(text.slice(0, open))
      .map((part) => typeof part === "number" ? marked(tokenizer.spelling(part)) : part);
    return masked.join("") + marked(text.slice(open));
  }
  if (Array.isArray(value)) return value.map((item) => maskControl(tokenizer, item, mark));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, maskControl(tokenizer, item, mark)]),
  );
}
