import assert from "node:assert/strict";
import { toCsv } from "../../bench/report/csv.ts";
import type { Report, Result } from "../../bench/report/report.ts";
import { ENVIRONMENT, RUN } from "./scripted_target.ts";

function reportOf(suite: string, results: Result[]): Report {
  return {
    format: "tvllm-bench-3",
    suite,
    complete: true,
    environment: ENVIRONMENT,
    run: RUN,
    limits: null,
    results,
    warmUps: [],
    runs: [],
    tables: [],
    charts: [],
    checks: [],
    warnings: [],
    outputHash: "",
  };
}

Deno.test("toCsv() writes a line per result, and a column per setting of any report", () => {
  const rate = {
    metric: "throughput",
    settings: { requests: 2 },
    unit: "tok/s" as const,
    value: 2.5,
    samples: [2, 2.5, 3],
    interval: [2, 3] as [number, number],
    limit: 10,
  } satisfies Result;
  const way = { way: 'decode("a", b)' };
  const time = { metric: "detokenize_time", settings: way, unit: "ms", value: 1 } as const;
  const reports = [
    reportOf("scalability", [rate]),
    reportOf("detokenizer", [time]),
  ];
  const run = `tiny,Scripted 3000,1,f16,${RUN.date}`;
  assert.deepEqual(toCsv(reports).split("\n"), [
    "suite,model,device,threads,kv_type,date,metric,requests,way,unit,value,low,high,limit,samples",
    `scalability,${run},throughput,2,,tok/s,2.5,2,3,10,2 2.5 3`,
    `detokenizer,${run},detokenize_time,,"decode(""a"", b)",ms,1,,,,`,
    "",
  ]);
});
