/** Options that several commands share, and parsers that check their values. */

import {
  type Command,
  InvalidArgumentError,
  Option,
  type OptionValues,
} from "@commander-js/extra-typings";
import type { Command as UntypedCommand, Option as UntypedOption } from "commander";
import type { GenerateOptions } from "../engine/mod.ts";
import { DEFAULT_MAX_TOKENS, DEFAULT_SAMPLING } from "../engine/run/defaults.ts";
import { REPEAT_HISTORY } from "../engine/run/runner.ts";
import { unescaped } from "./escapes.ts";

/** Returns a parser of integers from `min` to `max`, written in decimal digits. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^[+-]?\d+$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected an integer from ${min} to ${max}.`);
  };
}

/** Returns a parser of decimal numbers from `min` to `max`. */
export function decimal(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected a number from ${min} to ${max}.`);
  };
}

/** Parses a size in bytes, with K, M or G for powers of 1,024. */
function byteSize(text: string): number {
  const [, number, unit = ""] = /^(\d+)([KMG]?)$/i.exec(text) ?? [];
  const value = Number(number) * 1024 ** ["", "K", "M", "G"].indexOf(unit.toUpperCase());
  if (value > 0 && Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError("Expected a size in bytes, as in 512M or 2G.");
}

/** Collects the values of an option that may be given several times; none may be empty. */
function texts(text: string, earlier: readonly string[] = []): readonly string[] {
  if (text === "") throw new InvalidArgumentError("Expected a text that is not empty.");
  return [...earlier, text];
}

/** Collects `ID=BIAS` pairs. */
export function logitBiases(
  text: string,
  earlier: ReadonlyMap<number, number> = new Map(),
): ReadonlyMap<number, number> {
  const [, id, bias] = /^(\d+)=(.+)$/.exec(text) ?? [];
  if (id === undefined || bias === undefined) {
    throw new InvalidArgumentError("Expected ID=BIAS, as in 42=-1.5.");
  }
  return new Map(earlier).set(integer(0, MAX_INT32)(id), decimal(-1e4, 1e4)(bias));
}

/**
 * Parses variables for a chat template. Rejects those that tvllm sets itself, such as the messages.
 */
function templateVariables(text: string): Readonly<Record<string, unknown>> {
  const expected = new InvalidArgumentError(
    'Expected a JSON object, as in {"enable_thinking": false}.',
  );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw expected;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw expected;
  for (const name of ["messages", "add_generation_prompt"]) {
    if (name in value) throw new InvalidArgumentError(`tvllm sets ${name} itself.`);
  }
  return value as Record<string, unknown>;
}

const MAX_INT32 = 2 ** 31 - 1;
const MAX_UINT32 = 2 ** 32 - 1;

/**
 * Values of the options of `addGlobalOptions`. (A type, as an interface is not an `OptionValues`.)
 */
export type GlobalValues = {
  readonly color?: "auto" | "always" | "never";
  readonly quiet?: true;
  readonly verbose?: true;
};

/** Adds the options of every command and of `tvllm` itself. */
export function addGlobalOptions<A extends unknown[], O extends OptionValues>(
  command: Command<A, O>,
): Command<A, O & GlobalValues> {
  return withOptions<A, O, GlobalValues>(command, "Global options:", [
    new Option("--color <when>", "when to use colour")
      .choices(["auto", "always", "never"]),
    new Option("-q, --quiet", "print only errors and warnings to stderr"),
    new Option(
      "-v, --verbose",
      "print more details to stderr; after an error, also its stack trace",
    ),
  ]).helpOption("-h, --help", "show this help");
}

/** Creates the option `-m, --model`; without it, the environment variable TVLLM_MODEL applies. */
export function modelOption() {
  return new Option(
    "-m, --model <spec>",
    "model: a .gguf file, a directory of safetensors, hf:ORG/REPO[:QUANT] or synth:NAME:QUANT " +
      "(default: a small built-in model)",
  )
    .env("TVLLM_MODEL")
    .argParser(oneModel);
}

function oneModel(text: string, earlier?: string): string {
  if (earlier === undefined) return text;
  throw new InvalidArgumentError(`Expected one model, but ${earlier} was given as well.`);
}

/** Values of the options that `addDeviceOptions` adds. */
export type DeviceValues = {
  readonly device?: "auto" | "gpu" | "cpu";
  readonly threads?: number;
  readonly backend?: "vulkan" | "metal" | "dx12";
  readonly ctxSize?: number;
  readonly kvMemory?: number;
  readonly kvType: "f16" | "f32";
};

/** Adds the options for the device, and for the memory of the KV cache. */
export function addDeviceOptions<A extends unknown[], O extends OptionValues>(
  command: Command<A, O>,
): Command<A, O & DeviceValues> {
  return withOptions<A, O, DeviceValues>(command, "Device:", [
    new Option(
      "--device <kind>",
      "device to use; auto is a hardware GPU if there is one, else the CPU",
    )
      .choices(["auto", "gpu", "cpu"]),
    new Option(
      "--threads <n>",
      "CPU threads (default: the fastest number, measured while the model loads)",
    )
      .argParser(integer(1, 256)),
    new Option("--backend <name>", "graphics API of the GPU").choices(["vulkan", "metal", "dx12"]),
    new Option(
      "-c, --ctx-size <tokens>",
      "longest sequence (prompt and answer) in tokens (default: the model's limit, but at most 4096)",
    )
      .argParser(integer(1, 2 ** 24)),
    new Option("--kv-memory <size>", "maximum memory for the KV cache, such as 512M or 2G")
      .argParser(byteSize),
    new Option("--kv-type <type>", "data type of the KV cache").choices(["f16", "f32"])
      .default("f16"),
  ]);
}

/** Values of the options that `addSamplingOptions` adds. */
export type SamplingValues = {
  readonly temp: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repeatPenalty: number;
  readonly repeatLastN?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly logitBias?: ReadonlyMap<number, number>;
  readonly seed?: number;
};

/** Adds the options that control how the next token is chosen. */
export function addSamplingOptions<A extends unknown[], O extends OptionValues>(
  command: Command<A, O>,
): Command<A, O & SamplingValues> {
  return withOptions<A, O, SamplingValues>(command, "Sampling:", [
    new Option("--temp <t>", "temperature; 0 always picks the most likely token")
      .argParser(decimal(0, 100)).default(DEFAULT_SAMPLING.temperature),
    new Option("--top-k <k>", "keep the k most likely tokens (0 = all)")
      .argParser(integer(0, MAX_INT32)).default(DEFAULT_SAMPLING.topK),
    new Option(
      "--top-p <p>",
      "keep the smallest set with this total probability",
    )
      .argParser(decimal(0, 1)).default(DEFAULT_SAMPLING.topP),
    new Option("--min-p <p>", "drop tokens less than p times as likely as the best")
      .argParser(decimal(0, 1)).default(DEFAULT_SAMPLING.minP),
    new Option("--repeat-penalty <r>", "make recent tokens less likely if above 1 (1 = off)")
      .argParser(decimal(0.01, 100)).default(DEFAULT_SAMPLING.repeatPenalty),
    new Option(
      "--repeat-last-n <n>",
      "how many recent tokens --repeat-penalty applies to, 0 to 1024 (default: 64)",
    )
      .argParser(integer(0, REPEAT_HISTORY)),
    new Option("--presence-penalty <p>", "make tokens already in the answer less likely, -2 to 2")
      .argParser(decimal(-2, 2)),
    new Option(
      "--frequency-penalty <p>",
      "make tokens less likely each time they occur in the answer, -2 to 2",
    )
      .argParser(decimal(-2, 2)),
    new Option("--logit-bias <id=bias>", "add a bias to a token's logit (repeatable)")
      .argParser(logitBiases),
    new Option("--seed <n>", "random seed, to repeat an answer (default: random)")
      .argParser(integer(0, MAX_UINT32)),
  ]);
}

/** Values of the options that `addPromptOptions` adds. */
export type PromptValues = {
  readonly prompt?: string;
  readonly file?: string;
  readonly system?: string;
  readonly raw?: true;
  readonly chatTemplate?: string;
  readonly chatTemplateFile?: string;
  readonly chatTemplateKwargs?: Readonly<Record<string, unknown>>;
  readonly think?: boolean;
  readonly maxTokens?: number;
  readonly stop?: readonly string[];
  readonly escape?: true;
};

/**
 * Adds the options for the prompt and the answer. `composePrompt` joins the parts of the prompt.
 */
export function addPromptOptions<A extends unknown[], O extends OptionValues>(
  command: Command<A, O>,
): Command<A, O & PromptValues> {
  return withOptions<A, O, PromptValues>(command, "Prompt:", [
    new Option("-p, --prompt <text>", "the prompt, instead of the argument"),
    new Option("-f, --file <path>", "put the text of this file before the prompt"),
    new Option("-s, --system <text>", "system message"),
    new Option("--raw", "use the prompt as it is, without a chat template"),
    new Option(
      "--chat-template <template>",
      "chat template: chatml, llama2, llama3, zephyr, or Jinja source",
    ),
    new Option("--chat-template-file <path>", "read the chat template (Jinja) from this file"),
    new Option("--chat-template-kwargs <json>", "variables for the chat template, as a JSON object")
      .argParser(templateVariables),
    new Option(
      "--think",
      "ask a reasoning model to think before it answers (template variable enable_thinking)",
    ),
    new Option("--no-think", "ask a reasoning model not to think, if its template supports this"),
    new Option(
      "-n, --max-tokens <n>",
      `maximum number of tokens to generate (default: ${DEFAULT_MAX_TOKENS})`,
    )
      .argParser(integer(1, MAX_INT32)),
    new Option("--stop <text>", "end the answer before this text (repeatable)").argParser(texts),
    new Option(
      "-e, --escape",
      "interpret \\n, \\t, \\\\ and \\xHH in the prompt, the system message and --stop",
    ),
  ]);
}

/** Converts the options' values to those of the engine. Draws a random seed if none was given. */
export function toGenerateOptions(values: PromptValues & SamplingValues): GenerateOptions {
  const { raw, chatTemplate, maxTokens, temp, logitBias, think, repeatLastN, escape } = values;
  const { presencePenalty, frequencyPenalty } = values;
  const plain = (text: string) => escape ? unescaped(text) : text;
  const system = values.system === undefined ? undefined : plain(values.system);
  const stop = values.stop?.map(plain);
  const variables = {
    ...values.chatTemplateKwargs,
    ...(think !== undefined && { enable_thinking: think }),
  };
  return {
    ...(system !== undefined && { system }),
    ...(raw && { raw }),
    ...(chatTemplate !== undefined && { chatTemplate }),
    ...(Object.keys(variables).length > 0 && { templateVariables: variables }),
    ...(maxTokens !== undefined && { maxTokens }),
    ...(stop && { stop }),
    temperature: temp,
    topK: values.topK,
    topP: values.topP,
    minP: values.minP,
    repeatPenalty: values.repeatPenalty,
    ...(repeatLastN !== undefined && { repeatWindow: repeatLastN }),
    ...(presencePenalty !== undefined && { presencePenalty }),
    ...(frequencyPenalty !== undefined && { frequencyPenalty }),
    ...(logitBias && { logitBias }),
    seed: values.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!,
  };
}

/**
 * Adds options whose value types are given as `V`. If the types were inferred, option by option,
 * the TypeScript compiler would not terminate.
 */
function withOptions<A extends unknown[], O extends OptionValues, V>(
  command: Command<A, O>,
  group: string,
  options: readonly UntypedOption[],
): Command<A, O & V> {
  const untyped = command as unknown as UntypedCommand;
  untyped.optionsGroup(group);
  for (const option of options) untyped.addOption(option);
  return command as unknown as Command<A, O & V>;
}
