/** Options that several commands share, and the parsers that check their values. */

import {
  type Command,
  InvalidArgumentError,
  Option,
  type OptionValues,
} from "@commander-js/extra-typings";
import type { SamplingOptions } from "../engine/run/model_runner.ts";

/** Parses an integer from `min` to `max`, written in decimal digits. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^[+-]?\d+$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected an integer from ${min} to ${max}.`);
  };
}

/** Parses a decimal number from `min` to `max`. */
export function decimal(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected a number from ${min} to ${max}.`);
  };
}

/** Collects the values of an option that may be given several times; none may be empty. */
export function texts(text: string, earlier: readonly string[] = []): readonly string[] {
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

const MAX_INT32 = 2 ** 31 - 1;
const MAX_UINT32 = 2 ** 32 - 1;

/** Options of every command and of `tvllm` itself. */
export function addGlobalOptions<A extends unknown[], O extends OptionValues>(
  command: Command<A, O>,
) {
  return command
    .optionsGroup("Global options:")
    .addOption(
      new Option("--color <when>", "colour: auto, always or never").choices(
        ["auto", "always", "never"] as const,
      ),
    )
    .option("-q, --quiet", "nothing on stderr but errors and warnings")
    .option("-v, --verbose", "more on stderr; the stack of an error")
    .helpOption("-h, --help", "show this help");
}

/** `-m, --model`, else the environment variable TVLLM_MODEL. */
export function modelOption() {
  return new Option("-m, --model <spec>", "the model, a .gguf file").env("TVLLM_MODEL");
}

/** Where the model runs, and how much of the device's memory it may take. */
export function addDeviceOptions<A extends unknown[], O extends OptionValues>(
  command: Command<A, O>,
) {
  return command
    .optionsGroup("Device:")
    .addOption(
      new Option("--device <kind>", "gpu, or cpu; by default gpu where there is one").choices(
        ["gpu", "cpu"] as const,
      ),
    )
    .addOption(
      new Option("--backend <name>", "graphics API of the gpu").choices(
        ["vulkan", "metal", "dx12"] as const,
      ),
    )
    .option(
      "-c, --ctx-size <tokens>",
      "longest sequence; by default the model's own limit",
      integer(1, 2 ** 24),
    )
    .addOption(
      new Option("--kv-type <type>", "precision of the KV cache")
        .choices(["f16", "f32"] as const).default("f16" as const),
    );
}

/** How the next token is chosen; `toSampling` reads them. Defaults as llama.cpp has them. */
export function addSamplingOptions<A extends unknown[], O extends OptionValues>(
  command: Command<A, O>,
) {
  return command
    .optionsGroup("Sampling:")
    .option("--temp <t>", "temperature; 0 always takes the best token", decimal(0, 100), 0.8)
    .option("--top-k <k>", "of the k best tokens; 0: of all", integer(0, MAX_INT32), 40)
    .option("--top-p <p>", "of the best that sum to this probability", decimal(0, 1), 0.95)
    .option("--min-p <p>", "of those at least p times as likely as the best", decimal(0, 1), 0.05)
    .option("--repeat-penalty <r>", "makes the last 64 tokens rarer; 1: off", decimal(0.01, 100), 1)
    .option("--logit-bias <id=bias>", "adds to a token's logit; repeatable", logitBiases)
    .option("--seed <n>", "same seed, same text; by default random", integer(0, MAX_UINT32));
}

/** What `addSamplingOptions` yields. */
export interface SamplingValues {
  readonly temp: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repeatPenalty: number;
  readonly logitBias?: ReadonlyMap<number, number> | undefined;
  readonly seed?: number | undefined;
}

/** The engine's sampling options; draws a seed where none was given. */
export function toSampling(values: SamplingValues): SamplingOptions {
  return {
    temperature: values.temp,
    topK: values.topK,
    topP: values.topP,
    minP: values.minP,
    repeatPenalty: values.repeatPenalty,
    ...(values.logitBias !== undefined && { logitBias: values.logitBias }),
    seed: values.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!,
  };
}

/** What to say to the model; `composePrompt` of prompt_input.ts puts the parts together. */
export function addPromptOptions<A extends unknown[], O extends OptionValues>(
  command: Command<A, O>,
) {
  return command
    .optionsGroup("Prompt:")
    .option("-p, --prompt <text>", "the prompt, instead of the argument")
    .option("-f, --file <path>", "a file that comes before the prompt")
    .option("-s, --system <text>", "the system message")
    .option("--raw", "the prompt as it is, without the model's chat template")
    .option("-n, --max-tokens <n>", "longest answer, in tokens", integer(0, MAX_INT32))
    .option("--stop <text>", "ends the answer before this text; repeatable", texts);
}
