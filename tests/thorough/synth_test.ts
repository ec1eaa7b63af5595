import { DIRECTORY_FORMATS } from "../../engine/synthetic/directory.ts";
import { SYNTHETIC_FORMATS, syntheticModelNames } from "../../engine/synthetic/models.ts";
import { checkDirectory, checkRuns } from "../synth/synthetic_models.ts";

for (const name of syntheticModelNames().filter((name) => name.startsWith("tiny-"))) {
  Deno.test(`synthetic ${name} runs in every format, and knows some tokens from others`, async () => {
    for (const format of SYNTHETIC_FORMATS) await checkRuns(name, format);
  });

  Deno.test(`synthetic ${name} in safetensors of every format has the logits of GGUF`, async () => {
    for (const format of DIRECTORY_FORMATS) await checkDirectory(name, format);
  });
}
