/** Runs `tvllm devices --check --json` with one kernel made wrong and another one invalid. */

import { main } from "../../cli/main.ts";

const CHANGES: Readonly<Record<string, (code: string) => string>> = {
  rope_append: (code) => code.replace("inverseSqrt(", "1.001 * inverseSqrt("),
  embed_q8_0: (code) => `${code}\nfn broken() -> u32 { return; }`,
};

const { createShaderModule } = GPUDevice.prototype;
GPUDevice.prototype.createShaderModule = function (descriptor) {
  const change = CHANGES[descriptor.label ?? ""];
  const code = change?.(descriptor.code) ?? descriptor.code;
  if (change && code === descriptor.code) throw new Error(`Cannot break ${descriptor.label}`);
  return createShaderModule.call(this, { ...descriptor, code });
};

Deno.exit(await main(["devices", "--check", "--json"]));
