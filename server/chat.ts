/** `POST /v1/chat/completions`: answers conversations. */

import type { Model } from "../engine/mod.ts";
import type { EncodedPrompt } from "../engine/prompt.ts";
import type { ChatMessage } from "../engine/text/chat_template.ts";
import type { AnswerEvent } from "./generation.ts";
import { endsInThought, marksReasoning, ReasoningSplitter } from "./reasoning.ts";
import type { ChoiceWriter, ReplyFormat } from "./reply.ts";
import type { ChatBody } from "./requests.ts";

/** Number of tokens at the end of a prompt that are searched for the mark of a thought. */
const MARK_TOKENS = 16;

/** Returns the token ids of the conversation, formatted with the model's chat template. */
export function chatPrompt(model: Model, { messages, chat_template_kwargs: given }: ChatBody) {
  const variables = { ...given };
  for (const name of ["messages", "add_generation_prompt"]) delete variables[name];
  return model.encodePrompt(messages.map(toMessage), {
    ...(Object.keys(variables).length > 0 && { templateVariables: variables }),
  });
}

function toMessage({ role, content, reasoning_content }: ChatBody["messages"][number]) {
  const text = Array.isArray(content) ? content.map(({ text }) => text).join("\n") : content ?? "";
  const message: ChatMessage & { reasoning_content?: string } = {
    role,
    content: text,
    // Templates of reasoning models use it.
    ...(reasoning_content != null && { reasoning_content }),
  };
  return message;
}

/** Returns the format of the answer. */
export function chatFormat(model: Model, body: ChatBody, { ids }: EncodedPrompt): ReplyFormat {
  const end = model.tokenizer.decode(ids.slice(-MARK_TOKENS), { special: true });
  const reasoning = marksReasoning(model.chatTemplate)
    ? new ReasoningSplitter(endsInThought(end))
    : undefined;
  return {
    object: "chat.completion",
    chunkObject: "chat.completion.chunk",
    idPrefix: "chatcmpl-",
    choices: [new ChatWriter(model, reasoning, body.logprobs === true)],
  };
}

class ChatWriter implements ChoiceWriter {
  #begun = false;

  constructor(
    readonly model: Model,
    readonly reasoning: ReasoningSplitter | undefined,
    readonly logprobs: boolean,
  ) {}

  chunk(event: AnswerEvent): Record<string, unknown> {
    const { reasoning, content } = this.#split([event]);
    const role = this.#begun ? {} : { role: "assistant" };
    this.#begun = true;
    return {
      delta: {
        ...role,
        ...(reasoning !== "" && { reasoning_content: reasoning }),
        ...((content !== "" || reasoning === "") && { content }),
      },
      logprobs: this.#logprobs([event]),
    };
  }

  whole(events: readonly AnswerEvent[]): Record<string, unknown> {
    const { reasoning, content } = this.#split(events);
    return {
      message: {
        role: "assistant",
        content,
        ...(reasoning !== "" && { reasoning_content: reasoning }),
      },
      logprobs: this.#logprobs(events),
    };
  }

  #split(events: readonly AnswerEvent[]) {
    const text = events.map(({ text }) => text).join("");
    if (this.reasoning === undefined) return { reasoning: "", content: text };
    const { reasoning, content } = this.reasoning.push(text);
    if (events.at(-1)?.finish === undefined) return { reasoning, content };
    const rest = this.reasoning.flush();
    return { reasoning: reasoning + rest.reasoning, content: content + rest.content };
  }

  #logprobs(events: readonly AnswerEvent[]) {
    if (!this.logprobs) return null;
    const { tokenizer } = this.model;
    const describe = (id: number, logprob: number) => ({
      token: tokenizer.decode([id], { special: true, continues: true }),
      logprob,
      bytes: [...tokenizer.tokenBytes(id, true)],
    });
    return {
      content: events.flatMap(({ token }) =>
        token?.logprobs === undefined ? [] : [{
          ...describe(token.id, token.logprobs.logprob),
          top_logprobs: token.logprobs.top.map(({ id, logprob }) => describe(id, logprob)),
        }]
      ),
    };
  }
}
