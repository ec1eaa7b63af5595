/** Plural forms for nouns that follow a number. */

/** Returns `noun` in the form that follows `count`: `token` for 1, `tokens` for any other. */
export function plural(count: number | bigint, noun: string): string {
  return Number(count) === 1 ? noun : `${noun}s`;
}
