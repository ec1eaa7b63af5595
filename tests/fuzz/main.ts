/**
 * `deno task fuzz [--minutes N] [--seed N] [--only NAME]`: mutates what readers read until the time is over.
 * Each case must end in a value or in one of the errors that callers tell apart, of one printable line,
 * within a second of the processor's time. A case that does not is kept in dist/fuzz/.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  ModelFormatError,
  ModelNotFoundError,
  RequestError,
  UnsupportedError,
} from "../../engine/errors.ts";
import { openGgufBytes } from "../../engine/files/gguf.ts";
import { openSafetensors } from "../../engine/files/safetensors.ts";
import { matchingModels, modelsAmong } from "../../engine/hub/select.ts";
import { readModel } from "../../engine/model/read_model.ts";
import { renderChat } from "../../engine/text/chat_template.ts";
import { modelTokenizer } from "../../engine/text/model_tokenizer.ts";
import { tinyModel } from "../../fixtures/tiny_models.ts";
import { tinySafetensors } from "../../fixtures/tiny_safetensors.ts";
import { rawGguf } from "../files/raw_gguf.ts";
import { cpuSeconds } from "../time.ts";
import { BYTE_MUTATIONS, mutateJson, numbersFrom, type Pick } from "./mutations.ts";

const MOST_SECONDS = 1;
const MOST_MESSAGE = 400;
const KEPT = "dist/fuzz";

/** What one case is made of, and what is done with it. */
interface Case {
  /** What to keep if it fails. */
  readonly input: Uint8Array | string;
  readonly run: () => void;
}

const scratch = Deno.makeTempDirSync({ prefix: "tvllm-fuzz-" });

const tiny = tinyModel("llama", "Q8_0");
const raw = rawGguf();
const checkpoint = tinySafetensors("llama", "F16");
for (const [name, content] of Object.entries(checkpoint)) {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  Deno.writeFileSync(join(scratch, name), bytes);
}

const TEMPLATES = [
  "{% for m in messages %}{{ '<' + m.role + '>' + m.content|trim }}{% endfor %}",
  "{% set ns = namespace(a=[1]) %}{% for i in range(30) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
  "{{ messages|tojson(indent=2) }}{{ messages[0].content.split(' ')|join('-')|upper }}",
  "{% macro f(x) %}{{ x|replace('a', 'bb') }}{% endmacro %}{{ f(messages[0].content) }}",
];

function bytesCase(bytes: Uint8Array, pick: Pick, use: (bytes: Uint8Array) => void): Case {
  const names = Object.keys(BYTE_MUTATIONS);
  const input = BYTE_MUTATIONS[names[pick(names.length)]!]!(bytes, pick);
  return { input, run: () => use(input) };
}

/** A file of the checkpoint in a directory of the others, which is read. */
function checkpointCase(name: string, input: string | Uint8Array): Case {
  const path = join(scratch, name);
  const run = () => {
    const before = Deno.readFileSync(path);
    Deno.writeFileSync(path, typeof input === "string" ? new TextEncoder().encode(input) : input);
    try {
      const file = openSafetensors(scratch);
      try {
        readModel(file);
        modelTokenizer(file).encode("a text of some words, <|im_end|> and 1234 digits");
      } finally {
        file.close();
      }
    } finally {
      Deno.writeFileSync(path, before);
    }
  };
  return { input, run };
}

function readGguf(bytes: Uint8Array): void {
  const file = openGgufBytes(bytes, "fuzz.gguf");
  readModel(file);
  modelTokenizer(file).encode("a text of some words, <|im_end|> and 1234 digits");
}

function jsonCase(name: string, pick: Pick): Case {
  let value: unknown = JSON.parse(String(checkpoint[name]));
  for (let i = pick(3); i >= 0; i--) value = mutateJson(value, pick);
  return checkpointCase(name, JSON.stringify(value));
}

const READERS: Readonly<Record<string, (pick: Pick) => Case>> = {
  "gguf header": (pick) => bytesCase(raw, pick, (bytes) => openGgufBytes(bytes, "fuzz.gguf")),
  "gguf model": (pick) => bytesCase(tiny, pick, readGguf),
  "safetensors": (pick) => {
    const { input } = bytesCase(checkpoint["model.safetensors"] as Uint8Array, pick, () => {});
    return checkpointCase("model.safetensors", input);
  },
  "config.json": (pick) => jsonCase("config.json", pick),
  "tokenizer.json": (pick) => jsonCase("tokenizer.json", pick),
  "template": (pick) => {
    const template = new TextEncoder().encode(TEMPLATES[pick(TEMPLATES.length)]!.padEnd(80));
    return bytesCase(template, pick, (bytes) => {
      renderChat(new TextDecoder().decode(bytes), [{ role: "user", content: "a b c" }]);
    });
  },
  "hub listing": (pick) => {
    const names = ["m-Q4_K_M.gguf", "m-00001-of-00002.gguf", "config.json", "model.safetensors"];
    const paths = Array.from({ length: 1 + pick(50) }, () => {
      const name = new TextEncoder().encode(names[pick(names.length)]!.padEnd(80, "-"));
      const mutations = Object.values(BYTE_MUTATIONS);
      return new TextDecoder().decode(mutations[pick(mutations.length)]!(name, pick));
    });
    return {
      input: paths.join("\n"),
      run: () => void matchingModels(modelsAmong(paths), undefined),
    };
  },
};

/** What is wrong with how the case ended; undefined: nothing. */
function verdict({ run }: Case): string | undefined {
  let error: unknown;
  const seconds = cpuSeconds(() => {
    try {
      run();
    } catch (thrown) {
      error = thrown;
    }
  });
  if (error !== undefined) {
    const isTyped = error instanceof ModelFormatError || error instanceof UnsupportedError ||
      error instanceof ModelNotFoundError || error instanceof RequestError;
    if (!(error instanceof Error && isTyped)) return `an error of no type: ${Deno.inspect(error)}`;
    const message = error.message.replaceAll(scratch, "");
    if (message.length > MOST_MESSAGE) {
      return `a message of ${message.length} characters: ${message}`;
    }
    if (/\p{Cc}/u.test(message)) return `a raw control in ${JSON.stringify(message)}`;
  }
  return seconds > MOST_SECONDS ? `${seconds.toFixed(2)} s of the processor` : undefined;
}

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string" },
    only: { type: "string" },
  },
});
// The library warns of what files have.
console.warn = () => {};
const end = performance.now() + 60_000 * Number(values.minutes);
const readers = Object.entries(READERS).filter(([name]) =>
  values.only === undefined || name === values.only
);
const first = values.seed === undefined ? Date.now() % 2 ** 31 : Number(values.seed);
console.log(`seeds from ${first} on`);
const counts = new Map<string, number>();
let failures = 0;
for (
  let seed = first;
  seed === first || (values.seed === undefined && performance.now() < end);
  seed++
) {
  for (const [name, reader] of readers) {
    const made = reader(numbersFrom(seed));
    const fault = verdict(made);
    counts.set(name, (counts.get(name) ?? 0) + 1);
    if (fault === undefined) continue;
    failures++;
    const path = join(KEPT, `${name.replaceAll(" ", "-")}-${seed}`);
    Deno.mkdirSync(KEPT, { recursive: true });
    const { input } = made;
    Deno.writeFileSync(path, typeof input === "string" ? new TextEncoder().encode(input) : input);
    console.log(`${name}, --seed ${seed} (kept in ${path}): ${fault}`);
  }
}
for (const [name, count] of counts) console.log(`${name}: ${count} cases`);
Deno.removeSync(scratch, { recursive: true });
if (failures > 0) {
  console.log(`${failures} cases failed`);
  Deno.exit(1);
}
