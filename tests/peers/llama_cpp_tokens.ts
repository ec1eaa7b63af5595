/**
 * llama.cpp's token ids of texts, as JSON lines; tokens.ts runs it as a program of its own.
 *
 *     llama_cpp_tokens.ts PATH/TO/node-llama-cpp/dist/index.js <REQUESTS.jsonl
 */

/** Texts for the vocabulary of a GGUF file. */
export interface TokensRequest {
  readonly model: string;
  readonly texts: readonly string[];
}

/** The ids of each text, or what llama.cpp says against the file. */
export type TokensAnswer = { readonly ids: readonly (readonly number[])[] } | {
  readonly error: string;
};

if (import.meta.main) {
  const { getLlama, LlamaLogLevel } = await import(Deno.args[0]!);
  const llama = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.disabled,
  });
  const lines = (await new Response(Deno.stdin.readable).text()).trimEnd().split("\n");
  for (const line of lines) {
    const { model: modelPath, texts }: TokensRequest = JSON.parse(line);
    let answer: TokensAnswer;
    try {
      const model = await llama.loadModel({ modelPath, vocabOnly: true });
      answer = { ids: texts.map((text) => [...model.tokenize(text, false, "trimLeadingSpace")]) };
      await model.dispose();
    } catch (error) {
      answer = { error: String(error) };
    }
    console.log(JSON.stringify(answer));
  }
  await llama.dispose();
}
