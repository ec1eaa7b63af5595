/** Log-probabilities as servers send them. Chats and completions have different formats. */

import { z } from "zod";

const chosen = z.object({ token: z.string(), logprob: z.number() });

/** The field `logprobs` of a choice. */
export const logprobsSchema = z.object({
  // The format of chats.
  content: z.array(chosen.extend({ top_logprobs: z.array(chosen).nullish() })).nullish(),
  // The format of completions. The first token of an echoed prompt has no log-probability.
  tokens: z.array(z.string()).nullish(),
  token_logprobs: z.array(z.number().nullable()).nullish(),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).nullish(),
});

/** A token's log-probability, and the most likely tokens at its position, most likely first. */
export interface TokenLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly top: readonly { readonly token: string; readonly logprob: number }[];
}

/** Returns the log-probabilities of a choice, one entry per token. */
export function tokenLogprobs(field: z.infer<typeof logprobsSchema>): TokenLogprob[] {
  const { content, tokens, token_logprobs: own, top_logprobs: tops } = field;
  if (content) {
    return content.map(({ token, logprob, top_logprobs: top }) => ({
      ...{ token, logprob },
      top: top ?? [],
    }));
  }
  return (tokens ?? []).flatMap((token, i) => {
    const logprob = own?.[i];
    if (logprob == null) return [];
    const top = Object.entries(tops?.[i] ?? {}).map(([token, logprob]) => ({ token, logprob }));
    return [{ token, logprob, top: top.sort((a, b) => b.logprob - a.logprob) }];
  });
}
