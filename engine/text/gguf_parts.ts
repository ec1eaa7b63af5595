/** Builds the parts of a tokenizer from the metadata of a GGUF file. */

import { ModelFormatError, UnsupportedError } from "../errors.ts";
import type { MetadataValue } from "../files/model_file.ts";
import { quote } from "../files/quote.ts";
import { BpeModel, MergeTable } from "./bpe.ts";
import { type GgufVocabulary, readGgufVocabulary } from "./gguf_vocabulary.ts";
import { preTokenizer, preTokenizerNames } from "./pre_tokenizers.ts";
import { byteTokenIds, mergesByScore, wordSplit } from "./sentencepiece.ts";
import type { AddedToken, TokenizerParts } from "./tokenizer_parts.ts";
import { SPM_SPACE, TOKEN_KIND, Vocabulary } from "./vocabulary.ts";

/** Reads byte-level BPE (`tokenizer.ggml.model` gpt2) and SentencePiece (llama). */
export function ggufParts(
  metadata: ReadonlyMap<string, MetadataValue>,
  fileName: string,
): TokenizerParts {
  const source = readGgufVocabulary(metadata, fileName);
  return {
    ...(source.model === "gpt2" ? byteLevel(source, fileName) : sentencePiece(source, fileName)),
    addedTokens: stripping(source, metadata.get("general.name")),
  };
}

/**
 * Returns the search rules of Phi-3's tokens, which include the white space after them. GGUF has no
 * key for this; llama.cpp also decides by the model's name (llama-vocab.cpp: "set attributes by
 * model/tokenizer/architecture name").
 */
function stripping(
  { ids, kinds }: GgufVocabulary,
  name: MetadataValue | undefined,
): ReadonlyMap<number, AddedToken> {
  const added = new Map<number, AddedToken>();
  if (typeof name !== "string" || !/phi-?3/i.test(name)) return added;
  const { control, unknown, userDefined } = TOKEN_KIND;
  for (const [piece, id] of ids) {
    const isSpecial = [control, unknown, userDefined].some((kind) => kind === kinds[id]);
    if (isSpecial && !["<unk>", "<s>", "<|endoftext|>"].includes(piece)) {
      added.set(id, { rstrip: true });
    }
  }
  return added;
}

function byteLevel(source: GgufVocabulary, fileName: string): TokenizerParts {
  const rule = preTokenizer(source.pre ?? "default");
  if (rule === undefined) {
    throw new UnsupportedError(
      `Cannot read the tokenizer of ${fileName}: its pre-tokenizer is ${
        quote(source.pre ?? "default")
      }; ` +
        `tvllm supports ${preTokenizerNames().join(", ")}`,
    );
  }
  const { control, unknown } = TOKEN_KIND;
  // Merges must only result in text. A merge to a control token would create it from a user's
  // words.
  const isText = (id: number) => ![control, unknown].some((kind) => kind === source.kinds[id]);
  const merges = MergeTable.inOrder(source.merges, isText);
  const ids = textIds(source, [control, unknown]);
  return {
    ...source,
    vocabulary: new Vocabulary(source.pieces, source.kinds, "byte-level"),
    model: new BpeModel(ids, merges, { ignoreMerges: rule.ignoreMerges }),
    normalizer: null,
    preTokenizer: rule.config,
    addBos: source.addBos ?? rule.addBos,
    spacePrefix: false,
  };
}

function sentencePiece(source: GgufVocabulary, fileName: string): TokenizerParts {
  const { pieces, kinds, unknownId, addSpacePrefix } = source;
  const { control, unknown, unused, byte } = TOKEN_KIND;
  const ids = textIds(source, [control, unknown, unused, byte]);
  const byteIds = checked(fileName, () => byteTokenIds(source.ids));
  if (byteIds === undefined && unknownId === undefined) {
    throw new ModelFormatError(
      `Cannot read the tokenizer of ${fileName}: it has neither the tokens '<0x00>' to '<0xFF>' nor ` +
        "an unknown token, so text without tokens of its own would be lost; convert the model again",
    );
  }
  return {
    ...source,
    vocabulary: new Vocabulary(pieces, kinds, "sentencepiece"),
    model: new BpeModel(ids, checked(fileName, () => mergesByScore(ids, source.scores)), {
      ignoreMerges: false,
      ...(byteIds && { byteIds }),
      ...(unknownId !== undefined && { unknownId }),
    }),
    normalizer: {
      type: "Sequence",
      normalizers: [
        ...(addSpacePrefix ? [{ type: "Prepend", prepend: SPM_SPACE }] : []),
        { type: "Replace", pattern: { String: " " }, content: SPM_SPACE },
      ],
    },
    preTokenizer: wordSplit(ids),
    addBos: source.addBos ?? true,
    spacePrefix: addSpacePrefix,
  };
}

/**
 * Returns the result of `make`. Converts a RangeError to a ModelFormatError that names the file.
 */
function checked<T>(fileName: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ModelFormatError(`Cannot read the tokenizer of ${fileName}: ${error.message}`);
  }
}

/** Returns the tokens that text may become: "<s>" in a user's text must not merge into BOS. */
function textIds(source: GgufVocabulary, without: readonly number[]): Map<string, number> {
  const ids = new Map(source.ids);
  for (const [piece, id] of source.ids) {
    if (without.includes(source.kinds[id]!)) ids.delete(piece);
  }
  return ids;
}
