/** Reasons why a file cannot be written, for error messages. */

import { writeRefusal } from "../engine/files/granted.ts";
import { printable } from "../engine/files/quote.ts";

/**
 * Returns the part of the message after `Cannot write PATH: `.
 *
 * @param wayOut how to fix it, unless Deno lacks a permission, which the message says instead
 */
export function writeFailure(cause: unknown, path: string, wayOut?: string): string {
  return writeRefusal(cause, path) ?? reason(cause) + (wayOut === undefined ? "" : `; ${wayOut}`);
}

function reason(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  if (cause instanceof Deno.errors.NotCapable) {
    return "Deno does not write to /proc, /sys or devices";
  }
  if (cause instanceof Deno.errors.NotFound) return "there is no such directory";
  if (cause instanceof Deno.errors.PermissionDenied) return "no permission to write there";
  if (/\(os error 21\)/.test(message)) return "it is a directory, not a file";
  if (/\(os error 30\)/.test(message)) return "the file system is read-only";
  if (/\(os error 28\)/.test(message)) return "the disk is full";
  return printable(message);
}
