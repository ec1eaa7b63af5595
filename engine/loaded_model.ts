/** A model that is ready: prompts in, text out. */

import { RequestError } from "./errors.ts";
import type { ModelFile } from "./files/model_file.ts";
import type { ModelConfig } from "./model/config.ts";
import {
  type EncodedPrompt,
  encodePrompt,
  encodeText,
  type PromptOptions,
  type TextOptions,
} from "./prompt.ts";
import { Answer, type AnswerSummary } from "./run/answer.ts";
import { Engine, type EngineOptions } from "./run/engine.ts";
import {
  DEFAULT_WINDOW,
  type HalvesOptions,
  type HalvesScore,
  scoreHalves,
} from "./run/half_windows.ts";
import { perplexity, type ScoreOptions, type TokenScores } from "./run/perplexity.ts";
import type { ModelRunner, RunnerDevice, SamplingOptions } from "./run/runner.ts";
import type { ChatMessage } from "./text/chat_template.ts";
import type { Tokenizer } from "./text/tokenizer.ts";

/**
 * What to generate and how. The defaults are those of `tvllm generate`: temperature 0.8, top-k 40,
 * top-p 0.95, min-p 0.05, no repeat penalty, a random seed, at most 512 tokens.
 */
export interface GenerateOptions extends PromptOptions, Partial<SamplingOptions> {
  /** Tokens to generate at most; the end of the context may come first. */
  readonly maxTokens?: number;
  /** Strings that end the answer and are not part of it. */
  readonly stop?: string | readonly string[];
  /** Returns each token's log-probability and those of this many most probable tokens. */
  readonly logprobs?: number;
  /** Taken off the logit of each token that the answer has already, −2 to 2; default 0. */
  readonly presencePenalty?: number;
  /** Taken off that for each time that the answer has it, −2 to 2; default 0. */
  readonly frequencyPenalty?: number;
  /** Ends the answer early when it is aborted, with what there is. */
  readonly signal?: AbortSignal;
}

/** How well the model predicts a text. */
export interface TextScores extends TokenScores {
  /** exp of the mean negative log-probability of each token but the first. */
  readonly perplexity: number;
  /** The standard error of the perplexity. */
  readonly error: number;
  /** The text's tokens, which `positions` go with. */
  readonly ids: readonly number[];
}

/** An engine of its own: what is unlike the model's, and what runs its steps. */
export interface OwnEngineOptions extends EngineOptions {
  /** Stands before the model's runner, to watch its steps; default the runner itself. */
  readonly runner?: ModelRunner;
}

/** Milliseconds of the parts of a load, one after the other. */
export interface LoadTimes {
  /** Checking what the file says. */
  readonly config: number;
  /** Making the tokenizer, and reading the chat template. */
  readonly tokenizer: number;
  /** Finding and opening the device. */
  readonly device: number;
  /** Compiling the kernels of a GPU. */
  readonly kernels: number;
  /** Reading the weights and uploading them, and making the other buffers. */
  readonly weights: number;
}

/** @ignore What a model is made of. */
export interface ModelParts {
  readonly file: ModelFile;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  readonly chatTemplate: string | undefined;
  readonly contextLength: number;
  readonly runner: ModelRunner;
  readonly engineOptions: EngineOptions;
  readonly fallback: string | undefined;
  readonly deviceNote: string | undefined;
  readonly notes: readonly string[];
  readonly loadTimes: LoadTimes;
}

/**
 * A model that is ready to answer; `load` makes one.
 *
 * ```ts
 * import { load } from "@tvllm/tvllm";
 *
 * await using model = await load("model.gguf");
 * for await (const { text } of model.generate("Once upon a time", { maxTokens: 32 })) {
 *   console.log(text);
 * }
 * ```
 */
export class Model implements AsyncDisposable {
  /** The open file, its weights under GGUF's names. */
  readonly file: ModelFile;
  /** Its dimensions. */
  readonly config: ModelConfig;
  /** Text to token ids and back. */
  readonly tokenizer: Tokenizer;
  /** The chat template, as Jinja text; undefined if the model was trained on no chats. */
  readonly chatTemplate: string | undefined;
  /** Longest sequence in tokens, prompt and answer together. */
  readonly contextLength: number;
  /** Why the CPU runs it although the GPU was not ruled out; undefined otherwise. */
  readonly fallback: string | undefined;
  /** Why launch sizes that `tvllm tune` measured are not used; undefined if they are, or there are none. */
  readonly deviceNote: string | undefined;
  /** What of the file is left out, a line each, such as the vision tower. */
  readonly notes: readonly string[];
  /** Milliseconds from the open file to here, part by part. */
  readonly loadTimes: LoadTimes;
  /** What runs the steps of the engine: to look at. Steps that are not the engine's spoil its cache. */
  readonly runner: ModelRunner;
  readonly #engineOptions: EngineOptions;
  #engine: Engine;
  #lent = false;
  #closing: Promise<void> | undefined;

  /** @ignore */
  constructor(parts: ModelParts) {
    this.file = parts.file;
    this.config = parts.config;
    this.tokenizer = parts.tokenizer;
    this.chatTemplate = parts.chatTemplate;
    this.contextLength = parts.contextLength;
    this.fallback = parts.fallback;
    this.deviceNote = parts.deviceNote;
    this.notes = parts.notes;
    this.loadTimes = parts.loadTimes;
    this.runner = parts.runner;
    this.#engineOptions = parts.engineOptions;
    this.#engine = new Engine(this.runner, this.#engineOptions);
  }

  /** Milliseconds from the open file to a model that is ready. */
  get loadTime(): number {
    return Object.values(this.loadTimes).reduce((sum, part) => sum + part, 0);
  }

  /** What runs it: the adapter or the processor. */
  get device(): RunnerDevice {
    return this.runner.device;
  }

  /** The engine that serves it, for requests in token ids and for statistics. */
  get engine(): Engine {
    return this.#engine;
  }

  /**
   * Answers a prompt or a conversation. The answer is computed whether or not it is read, beside all
   * others that were asked for.
   *
   * ```ts
   * import { load } from "@tvllm/tvllm";
   *
   * await using model = await load("model.gguf");
   * const answer = model.generate([{ role: "user", content: "Why is the sky blue?" }], {
   *   temperature: 0,
   *   maxTokens: 32,
   * });
   * for await (const { text, token } of answer) console.log(token?.id, text);
   * const { finish, ids } = answer.summary!;
   * console.log(`${ids.length} tokens, ended by ${finish}`);
   * ```
   *
   * @throws {RequestError} if the prompt or an option cannot be used; its kind is "too-long" if the
   * prompt leaves no room for an answer.
   * @throws {ModelFormatError} if the model's own chat template fails.
   */
  generate(prompt: string | readonly ChatMessage[], options: GenerateOptions = {}): Answer {
    const { maxTokens, stop, logprobs, presencePenalty, frequencyPenalty, signal } = options;
    const { ids, continues } = this.encodePrompt(prompt, options);
    return new Answer(this.#engine, this.tokenizer, {
      promptIds: ids,
      continues,
      sampling: options,
      ...(maxTokens !== undefined && { maxTokens }),
      ...(stop !== undefined && { stops: typeof stop === "string" ? [stop] : stop }),
      ...(logprobs !== undefined && { logprobs }),
      ...(presencePenalty !== undefined && { presencePenalty }),
      ...(frequencyPenalty !== undefined && { frequencyPenalty }),
      ...(signal && { signal }),
    });
  }

  /**
   * Answers as `generate` does, the whole at once.
   *
   * ```ts
   * import { load } from "@tvllm/tvllm";
   *
   * await using model = await load("model.gguf");
   * const { text, promptTokens } = await model.complete("Once upon a time", { maxTokens: 32 });
   * console.log(promptTokens, text);
   * ```
   */
  async complete(
    prompt: string | readonly ChatMessage[],
    options: GenerateOptions = {},
  ): Promise<AnswerSummary> {
    return await this.generate(prompt, options).complete();
  }

  /**
   * The token ids that `generate` starts from: by the chat template, with BOS where the model
   * expects it. Throws as `generate` does.
   */
  encodePrompt(
    prompt: string | readonly ChatMessage[],
    options: PromptOptions = {},
  ): EncodedPrompt {
    return encodePrompt(this, prompt, options);
  }

  /**
   * The token ids of a text alone.
   *
   * ```ts
   * import { load } from "@tvllm/tvllm";
   *
   * await using model = await load("model.gguf");
   * const ids = model.tokenize("Once upon a time");
   * console.log(ids.length, model.tokenizer.decode(ids));
   * ```
   */
  tokenize(text: string, options: TextOptions = {}): number[] {
    return encodeText(this.tokenizer, text, options);
  }

  /**
   * Measures how well the model predicts a text; one longer than the context, in windows. Answers
   * that are being generated pause for it.
   *
   * ```ts
   * import { load } from "@tvllm/tvllm";
   *
   * await using model = await load("model.gguf");
   * const { perplexity, error } = await model.perplexity("The king said to the queen");
   * console.log(`${perplexity} ± ${error}`);
   * ```
   *
   * @throws {RequestError} if the text has less than two tokens.
   */
  async perplexity(text: string, options: ScoreOptions = {}): Promise<TextScores> {
    const ids = this.tokenize(text, { bos: true });
    if (ids.length < 2) {
      throw new RequestError("Cannot measure a text of fewer than two tokens: give a longer one");
    }
    const scores = await this.#engine.score(ids, options);
    const { value, error } = perplexity(scores.positions);
    return { ...scores, ids, perplexity: value, error };
  }

  /**
   * The perplexity as llama.cpp's llama-perplexity computes it: in windows, each begun by BOS, of which
   * the second half counts. To compare with its figures; `perplexity` counts every token of the text.
   *
   * ```ts
   * import { load } from "@tvllm/tvllm";
   *
   * await using model = await load("model.gguf");
   * const { perplexity, tokens } = await model.halvesPerplexity("The king said ".repeat(40), {
   *   window: 64,
   * });
   * console.log(`${perplexity} over ${tokens} tokens`);
   * ```
   *
   * @throws {RequestError} if the text has less than a window, or a window is longer than the context.
   */
  async halvesPerplexity(text: string, options: HalvesOptions = {}): Promise<HalvesScore> {
    const { window = DEFAULT_WINDOW } = options;
    if (!(Number.isInteger(window) && window >= 4 && window <= this.contextLength)) {
      throw new RequestError(
        `Cannot measure in windows of ${window} tokens: must be a whole number from 4 to the ` +
          `context's ${this.contextLength}`,
      );
    }
    const { addBos, bosId } = this.tokenizer;
    const ids = this.tokenize(text, { bos: true });
    return await scoreHalves(
      (ids, options) => this.#engine.score(ids, options),
      { ids, bosId: addBos ? bosId : undefined },
      options,
    );
  }

  /**
   * Lends the device to a fresh engine with an empty cache. The model's own is stopped before, which
   * cancels what it serves, and another one takes its place afterwards.
   *
   * @throws {Error} if the device is lent already.
   */
  async withEngine<T>(
    { runner = this.runner, ...options }: OwnEngineOptions,
    use: (engine: Engine) => Promise<T>,
  ): Promise<T> {
    if (this.#lent) throw new Error("Cannot make an engine: another one has the device");
    if (this.#closing) throw new Error("Cannot make an engine: the model is closed");
    this.#lent = true;
    try {
      await this.#engine.stop();
      this.#engine = new Engine(runner, { ...this.#engineOptions, ...options });
      return await use(this.#engine);
    } finally {
      await this.#engine.stop();
      if (!this.#closing) this.#engine = new Engine(this.runner, this.#engineOptions);
      this.#lent = false;
    }
  }

  /** Ends all answers and frees the device; the file is closed, too. Again, it does nothing more. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.#engine.stop();
    this.runner.destroy();
    this.file.close();
  }

  /** As `close`, at the end of an `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
