/** Access control: the API key, and requests from pages of other sites. */

import { timingSafeEqual } from "node:crypto";
import { HttpError } from "./errors.ts";

/** The rules for access. */
export interface AccessRules {
  /** The key that clients must send; undefined if none is needed. */
  readonly apiKey: string | undefined;
  /** Origins whose pages may send requests, such as https://example.com; "*" allows all. */
  readonly origins: readonly string[];
  /** Host names that browsers may use for this server, besides localhost and IP addresses. */
  readonly hosts: readonly string[];
}

/** Paths that need no key, because they reveal nothing and cost nothing. */
const OPEN_PATHS = ["/health", "/", "/page.js", "/page.css"];

/**
 * Checks whether a request is allowed.
 *
 * @throws {HttpError} 401 if the key is missing or wrong; 403 if a page of another site sent it.
 */
export async function checkAccess(request: Request, rules: AccessRules): Promise<void> {
  const url = new URL(request.url);
  const host = request.headers.get("host") ?? url.host;
  const origin = request.headers.get("origin");
  const { apiKey, origins, hosts } = rules;
  // Against DNS rebinding: an attacker's page may resolve its own host name to this address. The
  // page does not have the key, so the check is only needed if there is no key.
  if (apiKey === undefined && origins.length === 0 && !isOwnName(host, hosts)) {
    throw new HttpError(
      403,
      `Cannot answer requests for the host ${JSON.stringify(host)}: use localhost, or --host`,
    );
  }
  if (origin !== null && !isAllowed(origin, origins) && origin !== `${url.protocol}//${host}`) {
    throw new HttpError(
      403,
      `Cannot answer pages from ${JSON.stringify(origin)}: allow the origin with --cors`,
    );
  }
  if (apiKey === undefined || OPEN_PATHS.includes(url.pathname)) return;
  const [, given] = /^Bearer (.*)$/i.exec(request.headers.get("authorization") ?? "") ?? [];
  if (given !== undefined && timingSafeEqual(await digest(given), await digest(apiKey))) return;
  throw new HttpError(
    401,
    given === undefined
      ? "Cannot answer without an API key: send it as a bearer token"
      : "Cannot answer: the API key is wrong",
    { code: "invalid_api_key" },
  );
}

/** Hashes a key: the digests have equal lengths, so they can be compared in constant time. */
async function digest(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

function isOwnName(host: string, hosts: readonly string[]): boolean {
  const name = host.replace(/:\d+$/, "").toLowerCase();
  return name === "localhost" || name.endsWith(".localhost") || hosts.includes(name) ||
    /^(\d+\.){3}\d+$|^\[[\da-f:.]+\]$/.test(name);
}

function isAllowed(origin: string, origins: readonly string[]): boolean {
  return origins.includes("*") || origins.includes(origin);
}

/** Returns the CORS headers for a page of an allowed origin; otherwise none. */
export function corsHeaders(request: Request, { origins }: AccessRules): Record<string, string> {
  const origin = request.headers.get("origin");
  if (origin === null || !isAllowed(origin, origins)) return {};
  return {
    "access-control-allow-origin": origin,
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "authorization, content-type, x-request-id",
    "access-control-max-age": "600",
    vary: "origin",
  };
}
