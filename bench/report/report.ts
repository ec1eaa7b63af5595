/** The one form of a benchmark's results. Renderers and comparisons read nothing else. */

import { z } from "zod";
import { summarize } from "../harness/stats.ts";

/** Units of the values in reports; "x" is a ratio, "" a count. */
export const UNITS = [
  "",
  "tok/s",
  "req/s",
  "us",
  "ms",
  "s",
  "ms/token",
  "%",
  "x",
  "bytes",
  "GB/s",
  "GFLOPS",
  "GOPS",
] as const;

const quantity = z.object({
  value: z.number().describe("The median where there are samples"),
  unit: z.enum(UNITS),
  samples: z.array(z.number()).optional().describe("Every sample, in the order measured"),
  stddev: z.number().optional().describe("Sample standard deviation, where there are two samples"),
  limit: z.number().optional().describe("What the device probe allows at most"),
}).describe("A measured or computed number");

const cell = z.union([z.string(), quantity]);

const table = z.object({
  title: z.string(),
  columns: z.array(z.object({
    title: z.string(),
    unit: z.enum(UNITS).optional().describe("The title says this unit, so that cells need not"),
  })),
  rows: z.array(z.array(cell)),
  summary: z.array(z.string()).describe("Sentences below the table"),
});

const environment = z.object({
  device: z.object({
    description: z.string(),
    vendor: z.string(),
    architecture: z.string(),
    kind: z.enum(["gpu", "cpu"]),
    driver: z.enum(["hardware", "software"]),
  }),
  model: z.object({
    name: z.string(),
    architecture: z.string(),
    parameters: z.number(),
    formats: z.array(z.string()).describe("Weight formats, most bytes first"),
    bitsPerWeight: z.number(),
    fileBytes: z.number(),
    tensorBytes: z.number(),
    readBytes: z.number().describe("Bytes of the weights that a decoded token reads"),
    readWeights: z.number().describe("How many weights those are"),
    deviceBytes: z.number().describe("Bytes of the weights on the device"),
    dim: z.number(),
    layers: z.number(),
    heads: z.number(),
    kvHeads: z.number(),
    headDim: z.number(),
    ffnDim: z.number(),
    vocabSize: z.number(),
    contextLength: z.number().describe("As it was loaded"),
  }),
  engine: z.object({
    tvllm: z.string(),
    deno: z.string(),
    kernels: z.string().describe("Variant chosen for the adapter"),
    kvType: z.enum(["f16", "f32"]),
  }),
});

const run = z.object({
  promptTokens: z.number(),
  maxTokens: z.number(),
  prompts: z.number(),
  warmup: z.number(),
  repetitions: z.number(),
  concurrency: z.array(z.number()),
  seed: z.number(),
  only: z.string().optional().describe("Kernels to measure: words of their names, by commas"),
  shape: z.string().optional().describe("Rows x columns of the matrices of bench kernels"),
  date: z.string().describe("ISO 8601, when the run began"),
});

const limits = z.object({
  source: z.enum(["measured", "given"]).describe("Of the bandwidth"),
  bandwidth: z.number().describe("GB/s"),
  flops: z.number().describe("float32, GFLOPS"),
  int8: z.number().describe("int8 dot products, GOPS"),
  dispatch: z.number().describe("µs a dispatch"),
  readback: z.number().describe("ms from an empty submit to its result on the host"),
  upload: z.number().describe("GB/s to the device"),
  bytesPerToken: z.number(),
  memoryBound: z.number().describe("tok/s of one request"),
  arithmeticBound: z.number().describe("tok/s"),
});

const check = z.object({ name: z.string(), ok: z.boolean(), detail: z.string() });

/** A suite's whole result. `tvllm bench schema` prints it as JSON Schema. */
export const reportSchema = z.object({
  format: z.literal("tvllm-bench-1"),
  suite: z.string(),
  complete: z.boolean().describe("false: the run was cut off, and the tables have what was done"),
  environment,
  run,
  limits: limits.nullable().describe("null where there is no device to probe"),
  tables: z.array(table),
  checks: z.array(check),
  warnings: z.array(z.string()),
  outputHash: z.string().describe("Of the token ids generated greedily; empty if none were"),
});

export type Unit = typeof UNITS[number];
export type Quantity = z.infer<typeof quantity>;
export type Cell = z.infer<typeof cell>;
export type Table = z.infer<typeof table>;
export type Environment = z.infer<typeof environment>;
export type RunOptions = z.infer<typeof run>;
export type Limits = z.infer<typeof limits>;
export type Check = z.infer<typeof check>;
export type Report = z.infer<typeof reportSchema>;

/** A single number. */
export function value(value: number, unit: Unit, limit?: number): Quantity {
  return { value, unit, ...(limit !== undefined && { limit }) };
}

/** A repeated measure: its median, and every sample. */
export function measured(samples: readonly number[], unit: Unit, limit?: number): Quantity {
  const { median, stddev } = summarize(samples);
  return {
    ...value(median, unit, limit),
    samples: [...samples],
    ...(samples.length > 1 && { stddev }),
  };
}

/** Whether a result is more than the device can do, and therefore wrong. */
export function isAboveLimit(cell: Cell): boolean {
  return typeof cell !== "string" && cell.limit !== undefined && cell.value > cell.limit;
}
