/** Guesses the kind of a file that is not the expected model, for the error message. */

import { quote } from "./quote.ts";

/** The start of files of other kinds, with the kind and how to fix it. */
const SIGNATURES: readonly (readonly [string | RegExp, string])[] = [
  ["PK\x03\x04", "it is a ZIP archive or a PyTorch checkpoint; unpack it, or convert it to GGUF"],
  ["\x1f\x8b", "it is compressed with gzip; unpack it first"],
  ["\x28\xb5\x2f\xfd", "it is compressed with zstd; unpack it first"],
  ["version https://git-lfs", "it is a Git LFS pointer; fetch the file itself with git lfs pull"],
  [/^.{7}\0\{/s, "it looks like a safetensors file; pass the directory that contains it"],
  [
    /^\s*<(!doctype|html|\?xml|head|body)/i,
    "it is a web page; download the file itself, not the page about it",
  ],
  [/^\s*[{[]/, "it is JSON text; pass the model file"],
  [
    /^(lmgg|fmgg|tjgg|algg)/,
    "it is in a format older than GGUF; convert the model again with llama.cpp",
  ],
];

/**
 * Returns what a file seems to be and how to fix it: "it is …; …".
 *
 * @param head the first bytes of the file, of which 64 are used
 */
export function looksLike(head: Uint8Array): string {
  if (head.length === 0) return "it is empty; download it again";
  const text = String.fromCharCode(...head.subarray(0, 64));
  for (const [start, verdict] of SIGNATURES) {
    if (typeof start === "string" ? text.startsWith(start) : start.test(text)) return verdict;
  }
  return `it starts with ${quote(text.slice(0, 4))} instead of 'GGUF'; ` +
    `pass a .gguf file or a directory with safetensors files`;
}
