/** A loaded model: takes prompts and returns text. */

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
  /** Maximum number of tokens to generate; the answer also ends when the context is full. */
  readonly maxTokens?: number;
  /** Strings that end the answer; they are not included in it. */
  readonly stop?: string | readonly string[];
  /** Return each token's log-probability and those of this many most probable tokens. */
  readonly logprobs?: number;
  /**
   * Subtracted from the logit of every token that the answer already contains, −2 to 2; default 0.
   */
  readonly presencePenalty?: number;
  /** Subtracted from that logit once per occurrence in the answer, −2 to 2; default 0. */
  readonly frequencyPenalty?: number;
  /** Aborting it ends the answer early; the text so far is kept. */
  readonly signal?: AbortSignal;
}

/** How well the model predicts a text. */
export interface TextScores extends TokenScores {
  /** exp of the mean negative log-probability of all tokens but the first. */
  readonly perplexity: number;
  /** The standard error of the perplexity; undefined if the text has only two tokens. */
  readonly error: number | undefined;
  /** The tokens of the text, one for each entry of `positions`. */
  readonly ids: readonly number[];
}

/** Options of a separate engine: those that differ from the model's, and the runner to use. */
export interface OwnEngineOptions extends EngineOptions {
  /** Wrapper around the model's runner, to observe its steps; default the runner itself. */
  readonly runner?: ModelRunner;
}

/** Milliseconds of each part of a load. */
export interface LoadTimes {
  /** Reading and checking the model's configuration. */
  readonly config: number;
  /** Creating the tokenizer and reading the chat template. */
  readonly tokenizer: number;
  /** Finding and opening the device. */
  readonly device: number;
  /** Compiling GPU kernels; 0 on the CPU. */
  readonly kernels: number;
  /** Reading and uploading the weights, and allocating the other buffers. */
  readonly weights: number;
}

/** @ignore The parts of a model. */
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
 * A loaded model; `load` returns one.
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
  /** The open file; its weights have the names that GGUF uses. */
  readonly file: ModelFile;
  /** The model's dimensions and layers. */
  readonly config: ModelConfig;
  /** Converts text to token ids and back. */
  readonly tokenizer: Tokenizer;
  /** The chat template, as Jinja text; undefined if the model was not trained on chats. */
  readonly chatTemplate: string | undefined;
  /** Maximum length of a sequence in tokens, prompt and answer together. */
  readonly contextLength: number;
  /** Why the CPU runs the model although a GPU was allowed; undefined otherwise. */
  readonly fallback: string | undefined;
  /**
   * Why the launch sizes that `tvllm tune` measured are ignored; undefined if they are used, or
   * there are none.
   */
  readonly deviceNote: string | undefined;
  /** Parts of the file that are ignored, such as the vision tower; one line each. */
  readonly notes: readonly string[];
  /** Milliseconds that each part of loading took, from the open file to the ready model. */
  readonly loadTimes: LoadTimes;
  /**
   * Runs the engine's steps. For inspection only: submitting other steps corrupts the engine's
   * cache.
   */
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

  /** Milliseconds from the open file to the ready model. */
  get loadTime(): number {
    return Object.values(this.loadTimes).reduce((sum, part) => sum + part, 0);
  }

  /** The device that runs the model: the GPU adapter or the processor. */
  get device(): RunnerDevice {
    return this.runner.device;
  }

  /** The engine that serves this model, for requests in token ids and for statistics. */
  get engine(): Engine {
    return this.#engine;
  }

  /**
   * Answers a prompt or a conversation. The answer is generated whether or not it is read,
   * concurrently with all other requests.
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
   * @throws {RequestError} if the prompt or an option is invalid; its kind is "too-long" if the
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
   * Answers as `generate` does, but returns the whole answer at once.
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
   * Returns the token ids that `generate` starts from: the prompt rendered with the chat template,
   * with BOS if the model expects it. Throws as `generate` does.
   */
  encodePrompt(
    prompt: string | readonly ChatMessage[],
    options: PromptOptions = {},
  ): EncodedPrompt {
    return encodePrompt(this, prompt, options);
  }

  /**
   * Returns the token ids of a text, without a chat template.
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
   * Measures how well the model predicts a text. A text longer than the context is scored in
   * windows. Answers that are being generated pause meanwhile.
   *
   * ```ts
   * import { load } from "@tvllm/tvllm";
   *
   * await using model = await load("model.gguf");
   * const { perplexity, error } = await model.perplexity("The king said to the queen");
   * console.log(`${perplexity} ± ${error ?? "unknown"}`);
   * ```
   *
   * @throws {RequestError} if the text has fewer than two tokens.
   */
  async perplexity(text: string, options: ScoreOptions = {}): Promise<TextScores> {
    const ids = this.tokenize(text, { bos: true });
    if (ids.length < 2) {
      throw new RequestError(
        "Cannot compute perplexity: the text has fewer than two tokens; use a longer one",
      );
    }
    const scores = await this.#engine.score(ids, options);
    const { value, error } = perplexity(scores.positions);
    return { ...scores, ids, perplexity: value, error };
  }

  /**
   * Returns the perplexity as llama.cpp's llama-perplexity computes it, to compare with its
   * figures. It scores the text in windows that each start with BOS (if the model expects it), and
   * counts only the second half of each window; `perplexity` counts every token of the text.
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
   * @throws {RequestError} if the text is shorter than a window, or a window is shorter than 4
   * tokens or longer than the context.
   */
  async halvesPerplexity(text: string, options: HalvesOptions = {}): Promise<HalvesScore> {
    const { window = DEFAULT_WINDOW } = options;
    if (!(Number.isInteger(window) && window >= 4 && window <= this.contextLength)) {
      throw new RequestError(
        `Cannot use windows of ${window} tokens: the size must be a whole number from 4 to the ` +
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
   * Runs `use` with a new engine that has an empty cache and the device to itself. Before that, the
   * model's own engine is stopped, which cancels its requests; afterwards, the model gets a new
   * one.
   *
   * @throws {Error} if the device is already lent, or the model is closed.
   */
  async withEngine<T>(
    { runner = this.runner, ...options }: OwnEngineOptions,
    use: (engine: Engine) => Promise<T>,
  ): Promise<T> {
    if (this.#lent) throw new Error("Cannot create an engine: another one is using the device");
    if (this.#closing) throw new Error("Cannot create an engine: the model is closed");
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

  /** Ends all answers, frees the device and closes the file. Further calls do nothing. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.#engine.stop();
    this.runner.destroy();
    this.file.close();
  }

  /** Calls `close` at the end of an `await using` scope. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
