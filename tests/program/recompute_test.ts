/** Recomputes the figures of every golden report from its JSON, with a Python program. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { load } from "../../bench/suites/load.ts";
import { SUITES } from "../../bench/suites/mod.ts";
import { measureFailing } from "../bench/failing_server.ts";
import { recompute } from "./recompute.ts";

Deno.test("the figures of a scripted run of every suite agree with its JSON", async (t) => {
  for (const { name } of SUITES) {
    const path = new URL(`../../fixtures/goldens/bench/${name}.json`, import.meta.url);
    const json = Deno.readTextFileSync(fileURLToPath(path));
    await t.step(name, async () => {
      const { agree, of } = await recompute(json);
      assert.ok(agree >= 5 && agree <= of, `${agree} of ${of}`);
    });
  }
});

Deno.test("the figures of a load on a server that fails requests agree with its JSON", async () => {
  for (const how of [{}, { requestRate: "400", burstiness: "0.5" }]) {
    const suiteOptions = { ...how, goodput: "ttft:5,tpot:2 e2el:10" };
    const run = { prompts: 24, repetitions: 7, warmup: 0, suiteOptions };
    const report = await measureFailing(load, (number) => number % 4 === 0, run);
    const { agree, of } = await recompute(JSON.stringify(report));
    assert.equal(agree, of);
    report.results.find(({ metric }) => metric === "peak_throughput")!.samples![0]! += 1;
    await assert.rejects(recompute(JSON.stringify(report)), /load: .*peak_throughput/);
  }
});

Deno.test("a wrong figure is noticed: a median, an interval, a ratio, a limit, a projection", async () => {
  const wrong = async (suite: string, spoil: (result: Spoiled) => void, metric: string) => {
    const path = new URL(`../../fixtures/goldens/bench/${suite}.json`, import.meta.url);
    const report = JSON.parse(Deno.readTextFileSync(fileURLToPath(path)));
    spoil(report.results.find((result: Spoiled) => result.metric === metric));
    await assert.rejects(recompute(JSON.stringify(report)), new RegExp(`${suite}: .*${metric}`));
  };
  await wrong("latency", (result) => result.value *= 1.0001, "ttft");
  await wrong("latency", (result) => result.interval[0]! *= 0.999, "tpot");
  await wrong("latency", (result) => result.limit *= 1.0001, "prefill_throughput");
  await wrong("throughput", (result) => result.samples[2]! *= 1.0001, "throughput");
  await wrong("throughput", (result) => result.value *= 1.0001, "utilization");
  await wrong("scalability", (result) => result.value *= 1.0001, "efficiency");
  await wrong("memory", (result) => result.value += 1, "kv_projection");
});

interface Spoiled {
  readonly metric: string;
  value: number;
  limit: number;
  readonly samples: number[];
  readonly interval: number[];
}
