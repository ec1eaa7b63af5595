/** HTTP cases: request bodies for a server whose model answers at once. */

import { Model } from "../../engine/loaded_model.ts";
import { openGgufBytes } from "../../engine/files/gguf.ts";
import { readModel } from "../../engine/model/read_model.ts";
import type { Batch, ModelRunner } from "../../engine/run/runner.ts";
import { modelTokenizer } from "../../engine/text/model_tokenizer.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { makeServer } from "../server/served.ts";
import { messageFault, type Reader } from "./case.ts";
import { mutateBytes, mutateJson } from "./mutations.ts";

const CONTEXT = 64;

const shared = { max_tokens: 4, temperature: 0, seed: 7, stop: ["x"], top_p: 0.9, top_k: 5 };

const BODIES: Readonly<Record<string, unknown>> = {
  "/v1/completions": {
    ...shared,
    prompt: ["a", "b"],
    logprobs: 1,
    echo: true,
    logit_bias: { "5": 1 },
    stream: false,
  },
  "/v1/chat/completions": {
    ...shared,
    messages: [{ role: "system", content: "s" }, {
      role: "user",
      content: [{ type: "text", text: "hello" }],
    }],
    top_logprobs: 2,
    logprobs: true,
    stream: true,
    stream_options: { include_usage: true },
    chat_template_kwargs: { a: [1] },
    min_tokens: 1,
    presence_penalty: 0.5,
  },
  "/tokenize": { content: "some text", prompt: "some text", add_special: true },
  "/detokenize": { tokens: [1, 2, 3] },
};

/** Status codes that the server may return for any body. */
const STATUSES = [200, 400, 404, 405, 413];

/** A model that always samples the same token, without computing anything. */
function instantModel(): Model {
  const file = openGgufBytes(tinyModel("llama", "Q8_0"), "fuzz.gguf");
  const { config, weights } = readModel(file);
  const logits = new Float32Array(config.vocabSize);
  const runner: ModelRunner = {
    config: { ...config, contextLength: CONTEXT },
    device: { kind: "cpu", description: "instant", driver: "software" },
    limits: { blocks: [64], maxSequences: 4, maxBatchTokens: 64 },
    submit: ({ sequences, steps = 1 }: Batch) => ({
      read: () =>
        Promise.resolve({
          tokens: sequences.map(({ sampling }) => sampling ? Array<number>(steps).fill(40) : []),
          logits: sequences.map(({ logits: wanted, tokens }) =>
            wanted === "all" ? tokens!.map(() => logits) : wanted ? [logits] : []
          ),
        }),
    }),
    copyBlocks: () => {},
    destroy: () => {},
  };
  return new Model({
    file: weights,
    config,
    tokenizer: modelTokenizer(file),
    chatTemplate: "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
    contextLength: CONTEXT,
    runner,
    engineOptions: { contextLength: CONTEXT },
    fallback: undefined,
    deviceNote: undefined,
    notes: [],
    loadTimes: { config: 0, tokenizer: 0, device: 0, kernels: 0, weights: 0 },
  });
}

export function serverReaders(): Readonly<Record<string, Reader>> {
  const { server } = makeServer({ body: { bytes: 20_000, milliseconds: 10_000 } });
  server.ready(instantModel());
  const routes = Object.keys(BODIES);
  return {
    "http body": (pick) => {
      const route = routes[pick(routes.length)]!;
      let body: unknown = BODIES[route];
      for (let i = pick(3); i >= 0; i--) body = mutateJson(body, pick);
      let input = new TextEncoder().encode(JSON.stringify(body));
      if (pick(4) === 0 && input.length > 80) input = mutateBytes(input, pick);
      const request = () =>
        new Request(`http://localhost${route}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: input,
        });
      return {
        input,
        run: async () => {
          const response = await server.handle(request());
          const text = await response.text();
          if (!STATUSES.includes(response.status)) throw new Error(`${response.status}: ${text}`);
          if (response.status === 200) return;
          const fault = messageFault(JSON.parse(text).error.message);
          if (fault !== undefined) throw new Error(fault);
        },
      };
    },
  };
}
