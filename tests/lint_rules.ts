/** Rules of this project that `deno lint` holds: a plugin of it, see deno.json. */

import { fileURLToPath } from "node:url";

/** More of them are an options object, whose fields have names at the call too. */
const MAX_PARAMETERS = 3;

/** Files where some have more of them yet. */
const PENDING = [
  "kernels/formats.ts",
  "kernels/pack.ts",
  "kernels/pack_k.ts",
].map((path) => fileURLToPath(new URL(`../${path}`, import.meta.url)));

type Parametrized =
  | Deno.lint.ArrowFunctionExpression
  | Deno.lint.FunctionDeclaration
  | Deno.lint.FunctionExpression
  | Deno.lint.TSDeclareFunction
  | Deno.lint.TSEmptyBodyFunctionExpression
  | Deno.lint.TSFunctionType
  | Deno.lint.TSMethodSignature;

const plugin: Deno.lint.Plugin = {
  name: "tvllm",
  rules: {
    "max-parameters": {
      create(context) {
        if (PENDING.some((path) => context.filename.startsWith(path))) return {};
        const check = (node: Parametrized) => {
          if (node.params.length <= MAX_PARAMETERS) return;
          context.report({
            node,
            message: `${node.params.length} positional parameters; take an options object`,
            hint: "An inner loop that this slows down, as measured, says so after deno-lint-ignore",
          });
        };
        return {
          ArrowFunctionExpression: check,
          FunctionDeclaration: check,
          FunctionExpression: check,
          TSDeclareFunction: check,
          TSEmptyBodyFunctionExpression: check,
          TSFunctionType: check,
          TSMethodSignature: check,
        };
      },
    },
  },
};

export default plugin;
