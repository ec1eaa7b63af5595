/** This project's own rules for `deno lint`: a plugin, which deno.json loads. */

/** Functions that need more take an options object, whose fields are named at the call too. */
const MAX_PARAMETERS = 3;

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
        const check = (node: Parametrized) => {
          if (node.params.length <= MAX_PARAMETERS) return;
          context.report({
            node,
            message: `${node.params.length} positional parameters; take an options object`,
            hint:
              "If measurements show that this slows an inner loop down, say so after deno-lint-ignore",
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
