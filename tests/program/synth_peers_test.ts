/** Directories made by `synth` load in mlx-lm and Hugging Face's tokenizers, if installed. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MLX_FORMATS, syntheticDirectory } from "../../engine/synthetic/directory.ts";
import { syntheticModelNames } from "../../engine/synthetic/models.ts";
import { openModelFile } from "../../engine/files/open_model.ts";
import { modelTokenizer } from "../../engine/text/model_tokenizer.ts";
import { preTokenizer } from "../../engine/text/pre_tokenizers.ts";
import { safetensorsBytes } from "../../fixtures/tiny_safetensors.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const TEXT = "no one sees the sea again";
const TINY = syntheticModelNames().filter((name) => name.startsWith("tiny-"));
/** Each model in BF16, and one of each kind of feed-forward network in every format of MLX. */
const CASES = [
  ...TINY.map((name) => [name, "BF16"] as const),
  ...["tiny-llama", "tiny-qwen3moe", "tiny-phi3"].flatMap((name) =>
    MLX_FORMATS.map((format) => [name, format] as const)
  ),
];

/** The Python that has mlx-lm, or undefined; see tests/peers/peer.ts. */
function pythonWithMlx(): string | undefined {
  const places = [Deno.env.get("TVLLM_MLX_PYTHON"), join(ROOT, ".cache/peers/mlx/bin/python")];
  return places.find((place) => place && existsSync(place));
}

const python = pythonWithMlx();
if (python === undefined) {
  console.log(
    "note: the test of synth in mlx-lm is skipped, as mlx-lm is not installed: " +
      "`deno task peers:kl safetensors-llama-f32` installs it, or TVLLM_MLX_PYTHON names a Python that has it",
  );
}

interface Answer {
  readonly error?: string;
  readonly ids?: readonly number[];
  readonly shape?: readonly number[];
  readonly finite?: boolean;
}

Deno.test({
  name:
    "synth's directories load in mlx-lm, and their texts have the same ids in Hugging Face's tokenizers",
  ignore: python === undefined,
  fn: async () => {
    const scratch = Deno.makeTempDirSync({ prefix: "tvllm-synth-" });
    try {
      const directories = CASES.map(([name, format]) => {
        const directory = join(scratch, `${name}-${format}`);
        const rule = (pre: string) => preTokenizer(pre)!.config;
        const { texts, tensors } = syntheticDirectory(name, {
          format,
          seed: 1,
          preTokenizer: rule,
        });
        Deno.mkdirSync(directory);
        for (const [file, text] of Object.entries(texts)) {
          Deno.writeTextFileSync(join(directory, file), text);
        }
        Deno.writeFileSync(join(directory, "model.safetensors"), safetensorsBytes(tensors));
        return directory;
      });
      const child = new Deno.Command(python!, {
        args: [join(ROOT, "tests/peers/check_directories.py")],
        stdin: "piped",
        stdout: "piped",
        stderr: "null",
      }).spawn();
      const lines = directories.map((path) =>
        `${JSON.stringify({ directory: path, text: TEXT })}\n`
      );
      await new Blob(lines).stream().pipeTo(child.stdin);
      const { stdout } = await child.output();
      const answers: Answer[] = new TextDecoder().decode(stdout).trimEnd().split("\n")
        .map((line) => JSON.parse(line));
      assert.equal(answers.length, CASES.length);
      for (const [i, { error, ids, shape, finite }] of answers.entries()) {
        const [name, format] = CASES[i]!;
        assert.equal(error, undefined, `${name} in ${format}`);
        assert.deepEqual(shape, [ids!.length, 1024], `${name} in ${format}`);
        assert.ok(finite, `${name} in ${format}`);
        if (format !== "BF16") continue;
        const file = openModelFile(directories[i]!);
        assert.deepEqual(modelTokenizer(file).encode(TEXT), ids, name);
        file.close();
      }
    } finally {
      Deno.removeSync(scratch, { recursive: true });
    }
  },
});
