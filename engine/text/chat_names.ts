/** Chat templates that many models share, with their names in llama.cpp. */

import { RequestError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import { CHATML_TEMPLATE } from "./chat_prompt.ts";

/** Source: the chat_template of Llama-2-7b-chat-hf, without its checks of the order of roles. */
const LLAMA2 = "{% if messages[0].role == 'system' %}" +
  "{% set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}" +
  "{% set turns = messages[1:] %}{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}" +
  "{% for turn in turns %}{% if turn.role == 'assistant' %}" +
  "{{ ' ' + turn.content | trim + ' ' + eos_token }}{% else %}" +
  "{{ bos_token + '[INST] ' + ((system if loop.first else '') + turn.content) | trim + ' [/INST]' }}" +
  "{% endif %}{% endfor %}";

/** Source: the chat_template of Meta-Llama-3-8B-Instruct. */
const LLAMA3 = "{{ bos_token }}{% for message in messages %}" +
  "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}" +
  "{{ message.content | trim + '<|eot_id|>' }}{% endfor %}" +
  "{% if add_generation_prompt %}" +
  "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";

/** Source: the chat_template of TinyLlama-1.1B-Chat-v1.0, which zephyr-7b-beta also has. */
const ZEPHYR = "{% for message in messages %}" +
  "{{ '<|' + message.role + '|>\n' + message.content + eos_token + '\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}";

/** The Jinja source of templates, by name. */
export const NAMED_TEMPLATES: ReadonlyMap<string, string> = new Map([
  ["chatml", CHATML_TEMPLATE],
  ["llama2", LLAMA2],
  ["llama3", LLAMA3],
  ["zephyr", ZEPHYR],
]);

/**
 * Returns the template that `text` names, or `text` itself if it is a template.
 *
 * @throws {RequestError} if it is neither a name nor a template.
 */
export function templateNamed(text: string): string {
  const named = NAMED_TEMPLATES.get(text);
  if (named !== undefined) return named;
  if (/\{[{%]/.test(text)) return text;
  const names = [...NAMED_TEMPLATES.keys()].join(", ");
  throw new RequestError(
    `Cannot use the chat template ${quote(text)}: it is neither one of ${names} nor ` +
      `a Jinja template, which contains {{ or {%`,
  );
}
