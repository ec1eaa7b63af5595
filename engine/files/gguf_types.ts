/** GGUF's numbers of value types and tensor types. Source: docs/gguf.md and ggml.h of ggml. */

/** Metadata value types; the index is the number (`enum gguf_metadata_value_type`). */
export const VALUE_TYPES = [
  "uint8",
  "int8",
  "uint16",
  "int16",
  "uint32",
  "int32",
  "float32",
  "bool",
  "string",
  "array",
  "uint64",
  "int64",
  "float64",
] as const;

/** Name of a metadata value type. */
export type ValueType = typeof VALUE_TYPES[number];

/** Minimum number of bytes of a value in a file, which limits the length of an array. */
export const LEAST_VALUE_BYTES: Readonly<Record<ValueType, number>> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  string: 8,
  array: 12,
  uint64: 8,
  int64: 8,
  float64: 8,
};

/** Tensor types; the index is the number (`enum ggml_type`). tvllm reads those in `TensorType`. */
// deno-fmt-ignore
export const TENSOR_TYPE_NAMES: readonly string[] = [
  "F32", "F16", "Q4_0", "Q4_1", "Q4_2", "Q4_3", "Q5_0", "Q5_1", "Q8_0", "Q8_1",
  "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
  "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M",
  "BF16", "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0", "TQ2_0",
  "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4", "NVFP4", "Q1_0",
];

/** Types that have been removed from GGUF. */
export const REMOVED_TENSOR_TYPES: ReadonlySet<string> = new Set([
  "Q4_2",
  "Q4_3",
  "Q4_0_4_4",
  "Q4_0_4_8",
  "Q4_0_8_8",
  "IQ4_NL_4_4",
  "IQ4_NL_4_8",
  "IQ4_NL_8_8",
]);

export const DEFAULT_ALIGNMENT = 32;
