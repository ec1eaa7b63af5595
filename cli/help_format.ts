/** Descriptions of options and arguments in --help. */

import { type Argument as AnyArgument, Help, type Option } from "commander";

/** Commander's description, but default lists appear as they are typed, not as JSON. */
export function optionDescription(option: Option): string {
  const { defaultValue: value } = option;
  if (Array.isArray(value)) {
    if (value.length === 0) return option.description;
    option.defaultValueDescription ??= value.join(",");
  }
  return new Help().optionDescription(option);
}

/** Commander's description of an argument, but an empty list does not appear as a default. */
export function argumentDescription(argument: AnyArgument): string {
  const { defaultValue: value, description } = argument;
  return Array.isArray(value) && value.length === 0
    ? description
    : new Help().argumentDescription(argument);
}
