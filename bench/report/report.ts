/** The format of a benchmark's results. All views and comparisons read nothing else. */

import { z } from "zod";

/** Version of the format. It changes when programs that read the JSON have to change. */
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
  .describe(
    "95 % interval of the median, if there are at least six samples; docs/metrics.md has the method",
  );

const result = z.object({
  metric: z.string().describe("Id of the metric, the same in every run"),
  settings: settings.describe(
    'What the result belongs to, such as {"context": 512}; empty for the whole run',
  ),
  unit: z.enum(UNITS),
  value: z.number().describe("The median if there are samples"),
  samples: z.array(z.number()).optional().describe("One sample per repetition, in order"),
  interval: interval.optional(),
  paired: z.literal(true).optional().describe(
    "The samples are ratios within a repetition; value and interval are computed from their logarithms",
  ),
  of: z.int().optional().describe(
    "Number of values that a percentile is computed from, over all repetitions",
  ),
  limit: z.number().optional().describe("Upper limit that follows from the device probe"),
}).describe("A number, measured or computed; metric and settings identify it across runs");

const cell = z.union([z.string(), z.int().nonnegative().describe("Index of a result")]);

const table = z.object({
  title: z.string(),
  columns: z.array(z.string()),
  rows: z.array(z.array(cell)),
  notes: z.array(z.string()).describe("Sentences shown below the table"),
});

const chart = z.object({
  kind: z.enum(["bars", "lines", "roofline"]),
  title: z.string(),
  metric: z.string().describe("Id of the metric that is drawn"),
  by: z.string().describe("Setting whose values name the bars, or are the x axis of the lines"),
  series: z.string().optional().describe(
    "Setting that distinguishes the lines, or bars with the same name",
  ),
  xAxis: z.string().optional().describe("Label of the x axis of lines"),
  logarithmic: z.boolean().optional(),
  where: settings.optional().describe(
    "Settings of the drawn results besides by and series; default: none",
  ),
  ideal: z.boolean().optional().describe(
    "Also draw the line of ideal scaling, on which twice as many requests are twice as fast",
  ),
});

const layerKind = z.object({
  layers: z.number().describe("Number of layers of this kind"),
  heads: z.number(),
  kvHeads: z.number(),
  headDim: z.number(),
  window: z.number().optional().describe(
    "Number of positions that a token attends to; absent: all",
  ),
  headNorm: z.boolean(),
  experts: z.number().optional().describe("Number of experts that a token is routed to"),
}).describe("Layers with the same cost");

const environment = z.object({
  host: z.object({
    system: z.string(),
    processor: z.string(),
    features: z.array(z.string()).describe(
      "Features of the processor that matter for speed, such as AVX2 or NEON",
    ),
    cores: z.number().describe("Number of logical processors"),
    memory: z.number().nullable().describe("Bytes of main memory; null if unknown"),
    threads: z.number().describe("Number of threads that compute on the processor"),
  }),
  device: z.object({
    description: z.string(),
    vendor: z.string(),
    architecture: z.string(),
    kind: z.enum(["gpu", "cpu", "endpoint"]),
    driver: z.enum(["hardware", "software"]),
    reason: z.string().optional().describe("Why the CPU is used, if it was not requested"),
    api: z.string().describe("Graphics API"),
    driverVersion: z.string(),
  }),
  model: z.object({
    name: z.string(),
    architecture: z.string(),
    parameters: z.number(),
    sha256: z.string().describe(
      "SHA-256 of the file; of several files, that of the list of their hashes",
    ),
    formats: z.array(z.string()).describe("Weight formats, most bytes first"),
    bitsPerWeight: z.number(),
    fileBytes: z.number(),
    tensorBytes: z.number(),
    readBytes: z.number().describe("Bytes of weights read for each decoded token"),
    readWeights: z.number().describe("Number of weights read for each decoded token"),
    deviceBytes: z.number().describe("Bytes of the weights on the device"),
    dim: z.number(),
    layers: z.number(),
    layerKinds: z.array(layerKind),
    states: z.object({
      bytes: z.number(),
      operations: z.number(),
      convolution: z.object({ bytes: z.number(), operations: z.number() }).optional()
        .describe("The part of these bytes and operations that belongs to convolutions"),
    }).optional()
      .describe("Recurrent layers: bytes of the states of a sequence, and operations per token"),
    heads: z.number(),
    kvHeads: z.number(),
    headDim: z.number(),
    ffnDim: z.number(),
    vocabSize: z.number(),
    contextLength: z.number().describe("Context length that the model was loaded with"),
  }),
  engine: z.object({
    tvllm: z.string(),
    commit: z.string().describe(
      'Commit of the sources, with "-dirty" if they differ from it or "-unchecked" if that is unknown; or "unknown"',
    ),
    deno: z.string(),
    kernels: z.string().describe("Kernel variants chosen for the device"),
    kvType: z.enum(["f16", "f32"]),
  }),
  endpoint: z.object({
    url: z.string(),
    server: z.string().describe("Name of the server software, as it reports it"),
    api: z.enum(["completions", "chat", "ollama"]).describe(
      "API of the server that the requests used",
    ),
    tokens: z.enum(["usage", "tokenizer", "local", "chunks"]).describe(
      "How output tokens were counted: by the server's usage, by its tokenizer, by a tokenizer of the client, or one per chunk",
    ),
  }).optional().describe(
    "The server that was measured; little is known about its device and model",
  ),
});

const run = z.object({
  promptTokens: z.number(),
  maxTokens: z.number(),
  prompts: z.number(),
  warmup: z.union([z.number(), z.literal("steady")]).describe(
    "Warm-up runs of each case, which do not count; steady: until three agree within 3 %, at most five",
  ),
  repetitions: z.number(),
  concurrency: z.array(z.number()),
  contexts: z.array(z.number()).describe("Prompt lengths in the tables by context"),
  sequences: z.array(z.number()).describe(
    "Numbers of simultaneous sequences in the table of the KV cache",
  ),
  promptTexts: z.array(z.string()).describe("Prompts in the table by prompt"),
  sampling: z.object({
    temperature: z.number(),
    topK: z.number(),
    topP: z.number(),
    minP: z.number(),
    repeatPenalty: z.number(),
  }).describe("How tokens are sampled; temperature 0 means greedy"),
  seed: z.number(),
  suiteOptions: z.record(z.string(), z.string()).describe("Options that only some suites have"),
  date: z.string().describe("Start of the run in ISO 8601"),
  command: z.string().describe("The command line"),
});

const probe = z.object({
  samples: z.array(z.number()),
  interval: interval.optional(),
});

const limits = z.object({
  source: z.enum(["measured", "given"]).describe("Whether the bandwidth was measured or given"),
  bandwidth: z.number().describe("Memory bandwidth in GB/s"),
  flops: z.number().describe(
    "Rate of multiply-adds in GFLOPS: in float32, or on the CPU in integers if that is faster",
  ),
  int8: z.number().describe("Rate of int8 dot products in GOPS"),
  dispatch: z.number().describe("Overhead of a dispatch in µs"),
  readback: z.number().describe("Time in ms from an empty submit until its result is on the host"),
  upload: z.number().describe("Upload rate to the device in GB/s"),
  probes: z.record(z.string(), probe).describe(
    "Samples of the measured limits, by the names above",
  ),
  position: z.number().describe(
    "Tokens that a decoded token attends to halfway through the answer",
  ),
  kvReadBytes: z.number().describe("Bytes of keys and values read for a token at that position"),
  bytesPerToken: z.number().describe(
    "Bytes moved for that token: keys, values and weights read, recurrent states read and written",
  ),
  operationsPerToken: z.number(),
  memoryBound: z.number().describe("Maximum tok/s of one request at this bandwidth"),
  arithmeticBound: z.number().describe(
    "Maximum tok/s of one request at this rate of multiply-adds",
  ),
});

const warmUp = z.object({
  case: z.string(),
  runs: z.number(),
  steady: z.boolean().describe("Whether the last three runs took the same time within 3 %"),
  spread: z.number().optional().describe(
    "Longest time of the last three runs divided by the shortest, minus 1",
  ),
});

const measuredRun = z.object({
  case: z.string().describe("Name of the measured case"),
  repetition: z.number(),
  profiled: z.literal(true).optional().describe(
    "The kernels were timed, which slows the steps down",
  ),
  requests: z.array(z.object({
    promptTokens: z.number(),
    submitted: z.number().describe("Time of submission in ms, on the same clock as times"),
    times: z.array(z.number()).describe("When each token reached its consumer, in ms"),
  })),
  failed: z.array(z.object({ submitted: z.number(), ended: z.number() })).optional().describe(
    "Requests of a load that failed",
  ),
}).describe("Requests that were served together");

const check = z.object({ name: z.string(), ok: z.boolean(), detail: z.string() });

/** The report of a suite. `tvllm bench schema` prints it as JSON Schema. */
export const reportSchema = z.object({
  format: z.literal(FORMAT),
  suite: z.string(),
  complete: z.boolean().describe(
    "false if the run was cut off; the results then cover only what was done before",
  ),
  environment,
  run,
  limits: limits.nullable().describe("null if there is no device to probe"),
  results: z.array(result),
  warmUps: z.array(warmUp).describe("Warm-ups of each case"),
  runs: z.array(measuredRun).describe("All requests that were measured, token by token"),
  tables: z.array(table),
  charts: z.array(chart),
  checks: z.array(check),
  failures: z.array(z.object({ case: z.string(), reason: z.string() })).optional().describe(
    "Cases that could not be measured; absent if there are none",
  ),
  warnings: z.array(z.string()),
  outputHash: z.string().describe(
    "Hash of the token ids generated greedily; empty if there were none",
  ),
  interleaved: z.object({
    id: z.string().describe(
      "Reports with the same id were interleaved: their n-th samples form a pair",
    ),
    side: z.string().describe("Name of the side that this report belongs to"),
  }).optional().describe("Set by bench ab"),
});

/** The APIs over which servers are measured. */
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

/** The key that identifies a result of a suite in all runs. */
export function keyOf({ metric, settings }: Pick<Result, "metric" | "settings">): string {
  const sorted = Object.entries(settings).sort(([a], [b]) => a < b ? -1 : 1);
  return sorted.length === 0
    ? metric
    : `${metric} (${sorted.map(([name, value]) => `${name} ${value}`).join(", ")})`;
}

/** Whether a result is above its limit: the probe was disturbed, or caches helped. */
export function isAboveLimit({ value, limit }: Pick<Result, "value" | "limit">): boolean {
  return limit !== undefined && value > limit;
}
