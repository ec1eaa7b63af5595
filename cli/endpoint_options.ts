/** The options that name a server instead of a model. */

import { type Command, Option, type OptionValues } from "@commander-js/extra-typings";
import { UsageError } from "./exit_codes.ts";

/** Values of the options that `addEndpointOptions` adds. */
export type EndpointValues = {
  readonly endpoint?: string;
  readonly apiKey?: string;
  readonly servedModel?: string;
};

/** The server that the options select. */
export interface EndpointChoice {
  readonly url: string;
  readonly apiKey: string | undefined;
  readonly model: string | undefined;
}

/** The environment variable of the API key. */
export const KEY_VARIABLE = "TVLLM_API_KEY";

/**
 * Adds the options for a server.
 *
 * @param verb what the command does with a server, such as "measure", for the help
 */
export function addEndpointOptions<A extends unknown[], O extends OptionValues>(
  command: Command<A, O>,
  verb: string,
): Command<A, O & EndpointValues> {
  return command
    .addOption(
      new Option(
        "--endpoint <url>",
        `${verb} an OpenAI-compatible server instead of a model on this machine`,
      ),
    )
    .addOption(
      new Option(
        "--api-key <key>",
        `bearer token to send to the server (default: ${KEY_VARIABLE})`,
      ),
    )
    .addOption(
      new Option(
        "--served-model <name>",
        "which of the server's models to use (default: the first)",
      ),
    ) as unknown as Command<A, O & EndpointValues>;
}

/**
 * Returns the server that the options select; undefined without --endpoint. The key's environment
 * variable is read only if there is a server.
 *
 * @throws {UsageError} if the address is invalid, or other options for a server are given without
 * it.
 */
export function endpointOf(values: EndpointValues): EndpointChoice | undefined {
  const { endpoint, apiKey, servedModel } = values;
  if (endpoint === undefined) {
    const alone = apiKey !== undefined
      ? "--api-key"
      : servedModel !== undefined
      ? "--served-model"
      : undefined;
    if (alone === undefined) return undefined;
    throw new UsageError(`Cannot use ${alone} without --endpoint: it is for a server`);
  }
  checkAddress(endpoint);
  return { url: endpoint, apiKey: apiKeyOf(values), model: servedModel };
}

/** Returns the key of --api-key, else of the environment variable; an empty one counts as unset. */
export function apiKeyOf({ apiKey }: Pick<EndpointValues, "apiKey">): string | undefined {
  return apiKey ?? (Deno.env.get(KEY_VARIABLE) || undefined);
}

function checkAddress(text: string): void {
  const example = "expected an address such as http://localhost:8080";
  // Case-sensitive, like the rows of permissions.txt that grant network access.
  if (!/^https?:\/\/[^/]/.test(text) || !URL.canParse(text)) {
    throw new UsageError(`Cannot use the endpoint ${text}: ${example}`);
  }
  const { username, password, search, hash } = new URL(text);
  if (username + password !== "") {
    throw new UsageError(
      `Cannot use an endpoint's address with a user name or a password: give the key with --api-key or ${KEY_VARIABLE}`,
    );
  }
  if (search + hash !== "") {
    throw new UsageError(`Cannot use the endpoint ${text}: ${example}, without ? and #`);
  }
}
