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

  /** All settings' names and values, each with its description, for printing. */
  get rows(): readonly Row[] {
    return this.#options.map((option) => this.#rowOf(option));
  }

  /**
   * Returns the row of one setting.
   *
   * @throws {UsageError} if there is no such setting.
   */
  row(name: string): Row {
    const [, left, right] = /^([^=]+)=(.*)$/.exec(name) ?? [];
    if (left === undefined) return this.#rowOf(this.#option(name));
    throw new UsageError(
      `Cannot set ${name}: put a space between the name and the value, as in /set ${
        this.#option(left).name()
      } ${right || "1"}`,
    );
  }

  /**
   * Changes a setting. Names and values are those of the command line's option.
   *
   * @throws {UsageError} if there is no such setting, or the value is invalid.
   */
  set(name: string, value: string): void {
    const option = this.#option(name);
    try {
      const parsed: unknown = option.parseArg!(value, undefined);
      this.#values = { ...this.#values, [option.attributeName()]: parsed };
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
      throw new UsageError(`Cannot set ${option.name()} to '${value}': ${error.message}`);
    }
  }

  #rowOf(option: Option): Row {
    const value = (this.#values as Readonly<Record<string, unknown>>)[option.attributeName()];
    const width = Math.max(...NAMES.map((name) => name.length)) + 2;
    return [`${option.name().padEnd(width)}${value ?? "-"}`, option.description];
  }

  /** Returns the option with this name. */
  #option(name: string): Option {
    const plain = name.replace(/^-+/, "").replaceAll("_", "-");
    const option = this.#options.find((option) => option.name() === (ALIASES[plain] ?? plain));
    if (option !== undefined) return option;
    const near = nearest(plain, [...NAMES, ...Object.keys(ALIASES)]);
    throw new UsageError(
      `Cannot set ${name}: ` +
        (near === undefined ? `the settings are ${NAMES.join(", ")}` : `did you mean ${near}?`),
    );
  }
}
