/**
 * Converts prompts to token ids, for the library, the command line and the server: applies the chat
 * template, adds the token that begins a text (BOS), and checks the context's limit.
 */

import { ModelFormatError, RequestError } from "./errors.ts";
import { printable } from "./files/quote.ts";
import { promptTooLong } from "./run/sequence.ts";
import { templateNamed } from "./text/chat_names.ts";
import { encodeChat } from "./text/chat_prompt.ts";
import { type ChatMessage, renderChat } from "./text/chat_template.ts";
import type { EncodeOptions, Tokenizer } from "./text/tokenizer.ts";

/**
 * How to encode a prompt. By default it becomes a user message in the model's own chat template.
 */
export interface PromptOptions {
  /** A system message, placed before all others. */
  readonly system?: string;
  /** Use the prompt as it is, without a chat template. */
  readonly raw?: boolean;
  /** With `raw`: encode control tokens spelled out in the prompt as those tokens; default false. */
  readonly special?: boolean;
  /** Template to use instead of the model's own: chatml, llama2, llama3, zephyr, or Jinja text. */
  readonly chatTemplate?: string;
  /**
   * Variables that the template may use besides the messages, such as `enable_thinking` or `tools`.
   */
  readonly templateVariables?: Readonly<Record<string, unknown>>;
}

/** An encoded prompt, which the answer follows. */
export interface EncodedPrompt {
  /** The prompt's tokens, BOS included. */
  readonly ids: readonly number[];
  /** Whether the answer continues the prompt's own text instead of starting a new message. */
  readonly continues: boolean;
}

/** The model for which a prompt is encoded. */
export interface PromptTarget {
  readonly tokenizer: Tokenizer;
  /** The model's own template, as Jinja text; undefined if the model was not trained on chats. */
  readonly chatTemplate: string | undefined;
  /**
   * Maximum length of a sequence in tokens as the model was loaded; `config` has the model's own
   * limit.
   */
  readonly contextLength: number;
  readonly config: { readonly contextLength: number };
  /** The model's file, to name in errors of its own template. */
  readonly file?: { readonly paths: readonly string[] };
}

/** Options of `encodeText`. */
export interface TextOptions extends Pick<EncodeOptions, "special"> {
  /** Prepend BOS if the model expects it; default false. */
  readonly bos?: boolean;
}

/** Returns the token ids of a text, without a template and without checking the context's limit. */
export function encodeText(
  tokenizer: Tokenizer,
  text: string,
  { special = false, bos = false }: TextOptions = {},
): number[] {
  const ids = tokenizer.encode(text, { special });
  return bos ? withBos(tokenizer, ids) : ids;
}

/**
 * Returns the token ids of a prompt. With a chat template, a plain string becomes a user message.
 * Without one, the contents of the messages are joined with blank lines, and the answer continues
 * the last one. Control tokens spelled out in the prompt stay text, unless both `raw` and `special`
 * are set.
 *
 * @throws {RequestError} if the prompt leaves no room for an answer ("too-long"), if it is empty
 * and the model has no BOS token, if the template rejects it, or if the options contradict each
 * other.
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
    // The model needs at least one token to start from, and BOS begins a text.
    if (tokenizer.bosId === undefined) {
      throw new RequestError(
        "Cannot continue an empty prompt: the model has no BOS token to start from",
      );
    }
    ids.push(tokenizer.bosId);
  }
  if (ids.length >= contextLength) {
    throw promptTooLong(ids.length, contextLength, target.config.contextLength);
  }
  return { ids, continues: template === undefined };
}

/**
 * Returns the template that `options` select, as Jinja text; undefined if the prompt is used as it
 * is.
 *
 * @throws {RequestError} if `raw` is combined with an option that needs a template.
 */
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
    ? "template variables"
    : undefined;
  if (what === undefined) return undefined;
  throw new RequestError(
    `Cannot use ${what} with a raw prompt (--raw), which uses no template: use one or the other`,
  );
}

/**
 * Checks what can be checked before a model is loaded: that the options do not contradict each
 * other, and that a template given in them renders a message.
 *
 * @throws {RequestError} as `encodePrompt` does.
 */
export function checkPromptOptions(options: PromptOptions): void {
  const template = templateOf({ chatTemplate: undefined }, options);
  if (template === undefined) return;
  try {
    renderChat(template, [{ role: "user", content: "Hello" }]);
  } catch (error) {
    // A RequestError means that the template rejects this message, which is not a fault.
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
    throw new RequestError("Cannot answer a conversation without messages: pass at least one");
  }
  return system === undefined ? messages : [{ role: "system", content: system }, ...messages];
}

/** Returns the name of the template in error messages. */
function nameOf({ file }: PromptTarget, { chatTemplate }: PromptOptions): string {
  const [path] = file?.paths ?? [];
  const isOwn = chatTemplate === undefined && path !== undefined;
  return `the chat template${isOwn ? ` of ${printable(path)}` : ""}`;
}

/**
 * Runs `encode`. If a template given in the request fails, the error becomes a RequestError, as the
 * model's file is not at fault.
 */
function render(encode: () => number[], { chatTemplate }: PromptOptions): number[] {
  try {
    return encode();
  } catch (error) {
    if (!(error instanceof ModelFormatError) || chatTemplate === undefined) throw error;
    throw new RequestError(error.message, { cause: error });
  }
}

/** Prepends BOS if the model expects it, unless the template has already written it. */
function withBos({ addBos, bosId }: Tokenizer, ids: number[]): number[] {
  if (addBos && bosId !== undefined && ids[0] !== bosId) ids.unshift(bosId);
  return ids;
}
