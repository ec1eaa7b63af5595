/**
 * How a prompt becomes token ids, in one place for the library, the command line and whatever
 * serves: the chat template, the token that begins a text (BOS), and the context's limit.
 */

import { ModelFormatError, RequestError } from "./errors.ts";
import { printable } from "./files/quote.ts";
import { promptTooLong } from "./run/sequence.ts";
import { templateNamed } from "./text/chat_names.ts";
import { encodeChat } from "./text/chat_prompt.ts";
import { type ChatMessage, renderChat } from "./text/chat_template.ts";
import type { EncodeOptions, Tokenizer } from "./text/tokenizer.ts";

/** How a prompt is put to the model; by default as a user's message in the model's own template. */
export interface PromptOptions {
  /** A system message, which comes before all others. */
  readonly system?: string;
  /** Takes the prompt as it is, without a chat template. */
  readonly raw?: boolean;
  /** With `raw`: control tokens that the prompt writes out become those tokens; default false. */
  readonly special?: boolean;
  /** Instead of the model's own: chatml, llama2, llama3, zephyr, or a template as Jinja text. */
  readonly chatTemplate?: string;
  /** What the template may ask for besides the messages, such as `enable_thinking` or `tools`. */
  readonly templateVariables?: Readonly<Record<string, unknown>>;
}

/** What an answer is to follow. */
export interface EncodedPrompt {
  /** The prompt's tokens, BOS included. */
  readonly ids: readonly number[];
  /** The answer continues the prompt's own text instead of starting a message. */
  readonly continues: boolean;
}

/** What a prompt is encoded for. */
export interface PromptTarget {
  readonly tokenizer: Tokenizer;
  /** As Jinja text; undefined if the model was trained on no chats. */
  readonly chatTemplate: string | undefined;
  /** Longest sequence in tokens, and the longest that the model could be loaded with. */
  readonly contextLength: number;
  readonly config: { readonly contextLength: number };
  /** Where the model's own template is from, for its errors. */
  readonly file?: { readonly paths: readonly string[] };
}

/** How `encodeText` reads a text. */
export interface TextOptions extends Pick<EncodeOptions, "special"> {
  /** Puts BOS in front if the model expects it there; default false. */
  readonly bos?: boolean;
}

/** The token ids of a text alone: no template, no limit. */
export function encodeText(
  tokenizer: Tokenizer,
  text: string,
  { special = false, bos = false }: TextOptions = {},
): number[] {
  const ids = tokenizer.encode(text, { special });
  return bos ? withBos(tokenizer, ids) : ids;
}

/**
 * The token ids of a prompt. With a chat template a text is a user's message; without one the
 * contents of the messages follow each other, a blank line between, and the answer goes on from the
 * last. Control tokens that are written out in the prompt stay text.
 *
 * @throws {RequestError} if the prompt leaves no room for an answer ("too-long"), is empty where the
 * model has no token to begin with, or is refused by the template; or if the options are at odds.
 * @throws {ModelFormatError} if the model's own template fails.
 */
export function encodePrompt(
  target: PromptTarget,
  prompt: string | readonly ChatMessage[],
  options: PromptOptions = {},
): EncodedPrompt {
  const { tokenizer, contextLength } = target;
  const messages = messagesOf(prompt, options);
  const template = templateOf(target, options);
  const ids = withBos(
    tokenizer,
    template === undefined
      ? tokenizer.encode(messages.map(({ content }) => content).join("\n\n"), {
        special: options.raw === true && options.special === true,
      })
      : render(
        () => {
          const { templateVariables: variables } = options;
          const templateName = nameOf(target, options);
          return encodeChat(tokenizer, messages, {
            template,
            templateName,
            ...(variables && { variables }),
          });
        },
        options,
      ),
  );
  if (ids.length === 0) {
    // Without any token there is nothing to start from but the beginning of a text.
    if (tokenizer.bosId === undefined) {
      throw new RequestError(
        "Cannot continue an empty prompt: the model has no token to begin with",
      );
    }
    ids.push(tokenizer.bosId);
  }
  if (ids.length >= contextLength) {
    throw promptTooLong(ids.length, contextLength, target.config.contextLength);
  }
  return { ids, continues: template === undefined };
}

/** The template that `options` ask for, as Jinja text; undefined: the prompt's text alone. */
export function templateOf(
  { chatTemplate }: Pick<PromptTarget, "chatTemplate">,
  { raw = false, system, chatTemplate: asked, templateVariables }: PromptOptions,
): string | undefined {
  if (!raw) return asked === undefined ? chatTemplate : templateNamed(asked);
  const what = asked !== undefined
    ? "a chat template"
    : system !== undefined
    ? "a system message"
    : templateVariables !== undefined
    ? "variables of a template"
    : undefined;
  if (what === undefined) return undefined;
  throw new RequestError(
    `Cannot use ${what} with a raw prompt, which has no template (--raw): give one of them`,
  );
}

/**
 * Checks before a model is loaded what can be known then: that the options are not at odds, and that
 * a template that they bring renders a message.
 *
 * @throws {RequestError} as `encodePrompt` does.
 */
export function checkPromptOptions(options: PromptOptions): void {
  const template = templateOf({ chatTemplate: undefined }, options);
  if (template === undefined) return;
  try {
    renderChat(template, [{ role: "user", content: "Hello" }]);
  } catch (error) {
    // That it refuses this message is no mistake in it.
    if (error instanceof ModelFormatError) throw new RequestError(error.message, { cause: error });
    if (!(error instanceof RequestError)) throw error;
  }
}

function messagesOf(
  prompt: string | readonly ChatMessage[],
  { system }: PromptOptions,
): readonly ChatMessage[] {
  const messages = typeof prompt === "string" ? [{ role: "user", content: prompt }] : prompt;
  if (messages.length === 0) {
    throw new RequestError("Cannot answer a conversation without messages: give at least one");
  }
  return system === undefined ? messages : [{ role: "system", content: system }, ...messages];
}

/** What errors call the template. */
function nameOf({ file }: PromptTarget, { chatTemplate }: PromptOptions): string {
  const [path] = file?.paths ?? [];
  const isOwn = chatTemplate === undefined && path !== undefined;
  return `the chat template${isOwn ? ` of ${printable(path)}` : ""}`;
}

/** A template that the request brought, and that fails, is no fault of the model's file. */
function render(encode: () => number[], { chatTemplate }: PromptOptions): number[] {
  try {
    return encode();
  } catch (error) {
    if (!(error instanceof ModelFormatError) || chatTemplate === undefined) throw error;
    throw new RequestError(error.message, { cause: error });
  }
}

/** BOS in front where the model expects it, once: a template may write it, too. */
function withBos({ addBos, bosId }: Tokenizer, ids: number[]): number[] {
  if (addBos && bosId !== undefined && ids[0] !== bosId) ids.unshift(bosId);
  return ids;
}
