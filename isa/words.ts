/** Checks the words of `--only`. */

/**
 * Returns why the words select no kernel, or undefined if they select some.
 *
 * @param words the words in lower case
 * @param names the names of all kernels
 */
export function unknownWords(
  words: readonly string[],
  names: readonly string[],
): string | undefined {
  const having = (words: readonly string[]) =>
    names.filter((name) => words.every((word) => name.toLowerCase().includes(word)));
  if (having(words).length > 0) return undefined;
  const unknown = words.filter((word) => having([word]).length === 0);
  const reason = unknown.length > 0
    ? `no kernel has ${quoted(unknown)} in its name`
    : `no kernel has all of ${quoted(words)} in its name`;
  return `Cannot choose kernels: ${reason}; use words from kernel names, such as ${
    quoted(EXAMPLES)
  }`;
}

const EXAMPLES = ["matmul Q4_K, 1 token", "attention f16, 128 wide", "rope_append"];

function quoted(words: readonly string[]): string {
  return words.map((word) => `'${word}'`).join(", ");
}
