/**
 * The npm packages that the library uses, with their versions. They stand here and not in deno.json,
 * whose import map counts for this project alone: in a project that imports tvllm by its path, bare
 * names would not resolve.
 */

export { Environment, Interpreter, parse, tokenize } from "npm:@huggingface/jinja@0.5.11";
export { Tokenizer as TextRules } from "npm:@huggingface/tokenizers@0.2.0";
