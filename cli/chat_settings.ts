/** `/set` in a chat: changes sampling options and the maximum length of answers between turns. */

import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import type { Option } from "commander";
import type { Row } from "./chat_table.ts";
import { UsageError } from "./exit_codes.ts";
import {
  addPromptOptions,
  addSamplingOptions,
  type PromptValues,
  type SamplingValues,
} from "./options.ts";
import { nearest } from "./suggestion.ts";

/** Values of the options that a chat uses. */
export type ChatValues = PromptValues & SamplingValues;

const NAMES = ["temp", "top-k", "top-p", "min-p", "repeat-penalty", "seed", "max-tokens"];

/** Names that other programs use for these settings. */
const ALIASES: Readonly<Record<string, string>> = {
  temperature: "temp",
  n: "max-tokens",
  "num-predict": "max-tokens",
};

/** The current values of the settings. */
export class ChatSettings {
  readonly #options: readonly Option[] =
    (addSamplingOptions(addPromptOptions(new Command())).options as readonly Option[])
      .filter((option) => NAMES.includes(option.name()));
  #values: ChatValues;

  constructor(values: ChatValues) {
    this.#values = values;
  }

  get values(): ChatValues {
    return this.#values;
  }

  /** The settings' names and values, each with its description, for printing. */
  get rows(): readonly Row[] {
    const values = this.#values as Readonly<Record<string, unknown>>;
    const names = this.#options.map((option) => option.name());
    const width = Math.max(...names.map((name) => name.length)) + 2;
    return this.#options.map((option) => {
      const value = values[option.attributeName()];
      return [`${option.name().padEnd(width)}${value ?? "-"}`, option.description];
    });
  }

  /**
   * Changes a setting. Names and values are those of the command line's option.
   *
   * @throws {UsageError} if there is no such setting, or the value is invalid.
   */
  set(name: string, value: string): void {
    const plain = name.replace(/^-+/, "").replaceAll("_", "-");
    const option = this.#options.find((option) => option.name() === (ALIASES[plain] ?? plain));
    if (option === undefined) {
      const near = nearest(plain, [...NAMES, ...Object.keys(ALIASES)]);
      throw new UsageError(
        `Cannot set ${name}: ` +
          (near === undefined ? `the settings are ${NAMES.join(", ")}` : `did you mean ${near}?`),
      );
    }
    try {
      const parsed: unknown = option.parseArg!(value, undefined);
      this.#values = { ...this.#values, [option.attributeName()]: parsed };
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
      throw new UsageError(`Cannot set ${option.name()} to '${value}': ${error.message}`);
    }
  }
}
