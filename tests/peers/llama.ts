/** Shared by the programs that run llama.cpp: opening it, and answering lines of JSON. */

/** Opens llama.cpp on the CPU with node-llama-cpp, whose path is the program's first argument. */
export async function openLlama(
  { quiet = false, ...options }: { readonly quiet?: boolean; readonly maxThreads?: number } = {},
  // deno-lint-ignore no-explicit-any -- its types are in a package that is not installed here
): Promise<any> {
  const { getLlama, LlamaLogLevel } = await import(Deno.args[0]!);
  return await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    progressLogs: false,
    logLevel: quiet ? LlamaLogLevel.disabled : LlamaLogLevel.error,
    ...options,
  });
}

/** Answers each line of stdin with a line of JSON, which is an error if `answer` fails. */
export async function answerLines<Request>(
  answer: (request: Request) => Promise<unknown>,
): Promise<void> {
  const lines = (await new Response(Deno.stdin.readable).text()).trimEnd().split("\n");
  for (const line of lines) {
    let answered: unknown;
    try {
      answered = await answer(JSON.parse(line));
    } catch (error) {
      answered = { error: String(error) };
    }
    console.log(JSON.stringify(answered));
  }
}
