/** How --help describes options and arguments. */

import { type Argument as AnyArgument, Help, type Option } from "commander";

/** As Commander has it, but with default lists as they are typed, not as JSON. */
export function optionDescription(option: Option): string {
  const { defaultValue: value } = option;
  if (Array.isArray(value)) {
    if (value.length === 0) return option.description;
    option.defaultValueDescription ??= value.join(",");
  }
  return new Help().optionDescription(option);
}

/** The same of an argument: what may be left out has no default. */
export function argumentDescription(argument: AnyArgument): string {
  const { defaultValue: value, description } = argument;
  return Array.isArray(value) && value.length === 0
    ? description
    : new Help().argumentDescription(argument);
}
