/**
 * The npm packages that tvllm uses, with their versions. They are listed here and not in deno.json,
 * because its import map applies to this project only: bare names would not resolve in a project
 * that imports tvllm by its path.
 */

export { Environment, Interpreter, parse, tokenize } from "npm:@huggingface/jinja@0.5.11";
export { Tokenizer as TextRules } from "npm:@huggingface/tokenizers@0.2.0";
