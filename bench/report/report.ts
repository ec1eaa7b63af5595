/** The one form of a benchmark's results. Its views and comparisons read nothing else. */

import { z } from "zod";

/** The version of the form: it changes when a program that reads the JSON has to. */
export const FORMAT = "tvllm-bench-3";

/** Units of the values in reports; "x" is a ratio, "" a count. */
const UNITS = [
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

const settings = z.record(z.string(), z.union([z.string(), z.number()]));

const interval = z.tuple([z.number(), z.number()])
  .describe("95 % interval of the median, of six samples or more; docs/metrics.md has the method");

const result = z.object({
  metric: z.string().describe("Id of what was measured, the same in every run"),
  settings: settings.describe('What it belongs to, as {"context": 512}; empty: the whole run'),
  unit: z.enum(UNITS),
  value: z.number().describe("The median where there are samples"),
  samples: z.array(z.number()).optional().describe("One of each repetition, in order"),
  interval: interval.optional(),
  paired: z.literal(true).optional().describe(
    "Samples are ratios within a repetition; value and interval are of their logarithms",
  ),
  of: z.int().optional().describe("How many values a percentile is of, all repetitions together"),
  limit: z.number().optional().describe("What the device probe allows at most"),
}).describe("A number, measured or computed; metric and settings name it, in other runs too");

const cell = z.union([z.string(), z.int().nonnegative().describe("Index of a result")]);

const table = z.object({
  title: z.string(),
  columns: z.array(z.string()),
  rows: z.array(z.array(cell)),
  notes: z.array(z.string()).describe("Sentences below the table"),
});

const chart = z.object({
  kind: z.enum(["bars", "lines", "roofline"]),
  title: z.string(),
  metric: z.string().describe("Id of what is drawn"),
  by: z.string().describe("The setting that names bars, and that lines run along"),
  series: z.string().optional().describe("A setting that tells lines, or bars of a name, apart"),
  xAxis: z.string().optional().describe("What lines run along, in words"),
  logarithmic: z.boolean().optional(),
  where: settings.optional().describe(
    "Settings that what is drawn has; default none but by and series",
  ),
  ideal: z.boolean().optional().describe("With the line on which twice as many are twice as fast"),
});

const layerKind = z.object({
  layers: z.number().describe("How many layers are of this kind"),
  heads: z.number(),
  kvHeads: z.number(),
  headDim: z.number(),
  window: z.number().optional().describe("Positions that a token sees; absent: all"),
  headNorm: z.boolean(),
  experts: z.number().optional().describe("Experts that a token is routed to"),
}).describe("Layers that cost the same");

const environment = z.object({
  host: z.object({
    system: z.string(),
    processor: z.string(),
    features: z.array(z.string()).describe("Of the processor, those that matter: AVX2, NEON, …"),
    cores: z.number().describe("Logical processors"),
    memory: z.number().nullable().describe("Bytes; null where it is not known"),
    threads: z.number().describe("Threads that compute on the processor"),
  }),
  device: z.object({
    description: z.string(),
    vendor: z.string(),
    architecture: z.string(),
    kind: z.enum(["gpu", "cpu", "endpoint"]),
    driver: z.enum(["hardware", "software"]),
    reason: z.string().optional().describe("Why it is not a GPU, if that was not asked for"),
    api: z.string().describe("Graphics API"),
    driverVersion: z.string(),
  }),
  model: z.object({
    name: z.string(),
    architecture: z.string(),
    parameters: z.number(),
    sha256: z.string().describe("Of the file; of several files, of the list of their hashes"),
    formats: z.array(z.string()).describe("Weight formats, most bytes first"),
    bitsPerWeight: z.number(),
    fileBytes: z.number(),
    tensorBytes: z.number(),
    readBytes: z.number().describe("Bytes of the weights that a decoded token reads"),
    readWeights: z.number().describe("How many weights those are"),
    deviceBytes: z.number().describe("Bytes of the weights on the device"),
    dim: z.number(),
    layers: z.number(),
    layerKinds: z.array(layerKind),
    states: z.object({
      bytes: z.number(),
      operations: z.number(),
      convolution: z.object({ bytes: z.number(), operations: z.number() }).optional()
        .describe("The part of both that convolutions have"),
    }).optional()
      .describe("Of recurrent layers: bytes of a sequence's states, and operations of a token"),
    heads: z.number(),
    kvHeads: z.number(),
    headDim: z.number(),
    ffnDim: z.number(),
    vocabSize: z.number(),
    contextLength: z.number().describe("As it was loaded"),
  }),
  engine: z.object({
    tvllm: z.string(),
    commit: z.string().describe(
      'Of the sources; "-dirty" if they differ from it, "-unchecked" if that is not known; or "unknown"',
    ),
    deno: z.string(),
    kernels: z.string().describe("Variant chosen for the adapter"),
    kvType: z.enum(["f16", "f32"]),
  }),
  endpoint: z.object({
    url: z.string(),
    server: z.string().describe("As it calls itself"),
    api: z.enum(["completions", "chat", "ollama"]).describe("The route by which it was asked"),
    tokens: z.enum(["usage", "tokenizer", "local", "chunks"]).describe(
      "What output tokens are counted by: the server's usage, its tokenizer, one of the client, a chunk each",
    ),
  }).optional().describe("The server that was measured; of its device and model little is known"),
});

const run = z.object({
  promptTokens: z.number(),
  maxTokens: z.number(),
  prompts: z.number(),
  warmup: z.union([z.number(), z.literal("steady")]).describe(
    "Runs that do not count; steady: until three agree within 3 %, five at most",
  ),
  repetitions: z.number(),
  concurrency: z.array(z.number()),
  contexts: z.array(z.number()).describe("Prompt lengths of tables by context"),
  sequences: z.array(z.number()).describe("Sequences held at once in the table of the KV cache"),
  promptTexts: z.array(z.string()).describe("Prompts of the table by prompt"),
  sampling: z.object({
    temperature: z.number(),
    topK: z.number(),
    topP: z.number(),
    minP: z.number(),
    repeatPenalty: z.number(),
  }).describe("Temperature 0: greedy"),
  seed: z.number(),
  suiteOptions: z.record(z.string(), z.string()).describe("Options that only some suites have"),
  date: z.string().describe("ISO 8601, when the run began"),
  command: z.string().describe("The command line"),
});

const probe = z.object({
  samples: z.array(z.number()),
  interval: interval.optional(),
});

const limits = z.object({
  source: z.enum(["measured", "given"]).describe("Of the bandwidth"),
  bandwidth: z.number().describe("GB/s"),
  flops: z.number().describe("float32, GFLOPS"),
  int8: z.number().describe("int8 dot products, GOPS"),
  dispatch: z.number().describe("µs a dispatch"),
  readback: z.number().describe("ms from an empty submit to its result on the host"),
  upload: z.number().describe("GB/s to the device"),
  probes: z.record(z.string(), probe).describe("What was measured, by the names above"),
  position: z.number().describe("Tokens that a decoded token looks back on, at half of its answer"),
  kvReadBytes: z.number().describe("Keys and values that it then reads"),
  bytesPerToken: z.number().describe("Those, the weights, and states, which it also writes"),
  operationsPerToken: z.number(),
  memoryBound: z.number().describe("tok/s of one request"),
  arithmeticBound: z.number().describe("tok/s"),
});

const warmUp = z.object({
  case: z.string(),
  runs: z.number(),
  steady: z.boolean().describe("Whether the last three took the same time within 3 %"),
  spread: z.number().optional().describe("Longest over shortest of the last three, less 1"),
});

const measuredRun = z.object({
  case: z.string().describe("What was measured"),
  repetition: z.number(),
  profiled: z.literal(true).optional().describe("Kernels were timed, which slows a step"),
  requests: z.array(z.object({
    promptTokens: z.number(),
    submitted: z.number().describe("ms, by the clock of the times"),
    times: z.array(z.number()).describe("When each token reached its consumer, ms"),
  })),
  failed: z.array(z.object({ submitted: z.number(), ended: z.number() })).optional().describe(
    "Requests of a load that the server failed",
  ),
}).describe("Requests that were served together");

const check = z.object({ name: z.string(), ok: z.boolean(), detail: z.string() });

/** A suite's whole result. `tvllm bench schema` prints it as JSON Schema. */
export const reportSchema = z.object({
  format: z.literal(FORMAT),
  suite: z.string(),
  complete: z.boolean().describe(
    "false: the run was cut off, and the results are of what was done",
  ),
  environment,
  run,
  limits: limits.nullable().describe("null where there is no device to probe"),
  results: z.array(result),
  warmUps: z.array(warmUp).describe("Of each case"),
  runs: z.array(measuredRun).describe("All that was served while measuring, token by token"),
  tables: z.array(table),
  charts: z.array(chart),
  checks: z.array(check),
  failures: z.array(z.object({ case: z.string(), reason: z.string() })).optional().describe(
    "Cases that could not be measured; absent without any",
  ),
  warnings: z.array(z.string()),
  outputHash: z.string().describe("Of the token ids generated greedily; empty if none were"),
  interleaved: z.object({
    id: z.string().describe(
      "Reports with the same id were interleaved: their n-th samples are a pair",
    ),
    side: z.string().describe("What this one is called"),
  }).optional().describe("Of bench ab"),
});

/** The routes by which servers are asked. */
export type EndpointApi = NonNullable<Environment["endpoint"]>["api"];
export type Unit = typeof UNITS[number];
export type Settings = Readonly<z.infer<typeof settings>>;
export type Result = z.infer<typeof result>;
export type Table = z.infer<typeof table>;
export type ChartSpec = Readonly<z.infer<typeof chart>>;
export type Environment = z.infer<typeof environment>;
export type RunOptions = z.infer<typeof run>;
export type Interval = z.infer<typeof interval>;
export type Limits = z.infer<typeof limits>;
export type Check = z.infer<typeof check>;
export type Report = z.infer<typeof reportSchema>;

/** What names a result among those of its suite, in any run. */
export function keyOf({ metric, settings }: Pick<Result, "metric" | "settings">): string {
  const sorted = Object.entries(settings).sort(([a], [b]) => a < b ? -1 : 1);
  return sorted.length === 0
    ? metric
    : `${metric} (${sorted.map(([name, value]) => `${name} ${value}`).join(", ")})`;
}

/** Whether a result is more than the probe allows: the probe was disturbed, or caches helped. */
export function isAboveLimit({ value, limit }: Pick<Result, "value" | "limit">): boolean {
  return limit !== undefined && value > limit;
}
