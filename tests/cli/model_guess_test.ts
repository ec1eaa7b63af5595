import assert from "node:assert/strict";
import { join } from "node:path";
import { hubModelMeant, modelMeant, parseHubArgument } from "../../cli/model_guess.ts";

for (
  const [text, expected] of [
    ["Qwen/Qwen2.5-0.5B", "hf:Qwen/Qwen2.5-0.5B"],
    ["Qwen/Qwen2.5-0.5B-GGUF:Q4_K_M", "hf:Qwen/Qwen2.5-0.5B-GGUF:Q4_K_M"],
    ["https://huggingface.co/org/repo", "hf:org/repo"],
    ["https://huggingface.co/org/repo?library=x#files", "hf:org/repo"],
    ["https://huggingface.co/org/repo/tree/main", "hf:org/repo"],
    ["huggingface.co/org/repo/blob/main/sub/a-Q8_0.gguf", "hf:org/repo:sub/a-Q8_0.gguf"],
    ["https://hf.co/org/repo/resolve/v2/a.gguf?download=true", "hf:org/repo:a.gguf@v2"],
    ["https://example.com/org/repo", undefined],
    ["/models/a.gguf", undefined],
    ["a/b/c", undefined],
    ["../repo", undefined],
    ["model.gguf", undefined],
  ] as const
) {
  Deno.test(`hubModelMeant() reads ${text} as ${expected}`, () => {
    assert.equal(hubModelMeant(text), expected);
  });
}

Deno.test("modelMeant() suggests a file in the same folder with a similar name", () => {
  const folder = Deno.makeTempDirSync();
  for (const name of ["smollm2-Q4_1.gguf", "smollm2-Q4_1.txt", "other.gguf"]) {
    Deno.writeTextFileSync(join(folder, name), "");
  }
  const meant = (name: string) => modelMeant(join(folder, name));
  assert.equal(meant("smolm2-q4_1.gguf"), `did you mean ${join(folder, "smollm2-Q4_1.gguf")}?`);
  assert.equal(meant("llama.gguf"), "check the path; models on the hub are named hf:ORG/REPO");
  assert.equal(modelMeant("no/such"), "did you mean hf:no/such?");
});

Deno.test("parseHubArgument() suggests a model name if the prefix hf: is missing", () => {
  assert.deepEqual(parseHubArgument("hf:a/b"), { repository: "a/b" });
  const refused = (text: string, reason: RegExp) =>
    assert.throws(() => parseHubArgument(text), reason);
  refused("a/b", /'a\/b': did you mean hf:a\/b\?$/);
  refused("model", /'model': expected hf:ORG\/REPO/);
  refused("hf:model", /'hf:model': expected hf:ORG\/REPO/);
});
