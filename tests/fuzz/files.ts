/** Cases for GGUF, safetensors and their JSON files, chat templates, and the hub's listings. */

import { join } from "node:path";
import { openGgufBytes } from "../../engine/files/gguf.ts";
import { openSafetensors } from "../../engine/files/safetensors.ts";
import { matchingModels, modelsAmong } from "../../engine/hub/select.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { renderChat } from "../../engine/text/chat_template.ts";
import { modelTokenizer } from "../../engine/text/model_tokenizer.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { tinySafetensors } from "../../fixtures/tiny_safetensors.ts";
import { rawGguf } from "../files/raw_gguf.ts";
import type { Case, Reader } from "./case.ts";
import { BYTE_MUTATIONS, mutateBytes, mutateJson, type Pick } from "./mutations.ts";

const TEXT = "a text of some words, <|im_end|> and 1234 digits";

const TEMPLATES = [
  "{% for m in messages %}{{ '<' + m.role + '>' + m.content|trim }}{% endfor %}",
  "{% set ns = namespace(a=[1]) %}{% for i in range(30) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
  "{{ messages|tojson(indent=2) }}{{ messages[0].content.split(' ')|join('-')|upper }}",
  "{% macro f(x) %}{{ x|replace('a', 'bb') }}{% endmacro %}{{ f(messages[0].content) }}",
].map((template) => new TextEncoder().encode(template.padEnd(80)));

const LISTED = ["m-Q4_K_M.gguf", "m-00001-of-00002.gguf", "config.json", "model.safetensors"]
  .map((name) => new TextEncoder().encode(name.padEnd(80, "-")));

/** @param scratch an empty directory, for the files that must be on disk */
export function fileReaders(scratch: string): Readonly<Record<string, Reader>> {
  const tiny = tinyModel("llama", "Q8_0"), raw = rawGguf();
  const checkpoint = Object.fromEntries(
    Object.entries(tinySafetensors("llama", "F16")).map(([name, content]) => [
      name,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    ]),
  );
  for (const [name, bytes] of Object.entries(checkpoint)) {
    Deno.writeFileSync(join(scratch, name), bytes);
  }

  /** A case that reads the checkpoint with its file `name` replaced by `input`. */
  const checkpointCase = (name: string, input: Uint8Array, tokenizes: boolean): Case => ({
    input,
    run: () => {
      const path = join(scratch, name);
      Deno.writeFileSync(path, input);
      try {
        using file = closing(openSafetensors(scratch));
        readModel(file.model);
        if (tokenizes) modelTokenizer(file.model).encode(TEXT);
      } finally {
        Deno.writeFileSync(path, checkpoint[name]!);
      }
    },
  });
  const jsonCase = (name: string, pick: Pick): Case => {
    const bytes = checkpoint[name]!;
    if (pick(5) === 0) return checkpointCase(name, mutateBytes(bytes, pick), true);
    let value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    for (let i = pick(3); i >= 0; i--) value = mutateJson(value, pick);
    return checkpointCase(name, new TextEncoder().encode(JSON.stringify(value)), true);
  };

  return {
    "gguf header": (pick) => {
      const input = mutateBytes(raw, pick);
      return { input, run: () => void openGgufBytes(input, "fuzz.gguf") };
    },
    "gguf model": (pick) => {
      const input = mutateBytes(tiny, pick);
      return {
        input,
        run: () => {
          const file = openGgufBytes(input, "fuzz.gguf");
          readModel(file);
          modelTokenizer(file).encode(TEXT);
        },
      };
    },
    "safetensors": (pick) =>
      checkpointCase(
        "model.safetensors",
        mutateBytes(checkpoint["model.safetensors"]!, pick),
        false,
      ),
    "config.json": (pick) => jsonCase("config.json", pick),
    "tokenizer.json": (pick) => jsonCase("tokenizer.json", pick),
    "template": (pick) => {
      const input = mutateBytes(TEMPLATES[pick(TEMPLATES.length)]!, pick);
      const template = new TextDecoder().decode(input);
      return {
        input,
        run: () => void renderChat(template, [{ role: "user", content: "a b c" }]),
      };
    },
    "hub listing": (pick) => {
      const mutations = Object.values(BYTE_MUTATIONS);
      const paths = Array.from({ length: 1 + pick(50) }, () => {
        const name = LISTED[pick(LISTED.length)]!;
        return new TextDecoder().decode(mutations[pick(mutations.length)]!(name, pick));
      });
      return {
        input: new TextEncoder().encode(paths.join("\n")),
        run: () => void matchingModels(modelsAmong(paths), undefined),
      };
    },
  };
}

function closing(model: ReturnType<typeof openSafetensors>) {
  return { model, [Symbol.dispose]: () => model.close() };
}
