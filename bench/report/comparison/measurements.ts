/**
 * Finds the measurements of two sides that can be compared. Reports with the same suite, model and
 * configuration are runs of the same measurement.
 */

import { type ConfigurationPart, configurationTexts } from "../configuration.ts";
import type { Report } from "../report.ts";

/** A measurement that both sides have. */
export interface Pair {
  readonly a: readonly Report[];
  readonly b: readonly Report[];
  /** What tells it apart from the side's other measurements with the model, such as "2 threads". */
  readonly configuration: string;
}

/** What tells the measurements of a suite apart. */
interface Traits {
  readonly model: string;
  readonly device: string;
  readonly kvType: string;
  /** "" if no run measured several numbers: then the program may have chosen it. */
  readonly threads: string;
  /** Side of bench ab, or "". */
  readonly side: string;
}

const TRAITS = ["model", "device", "threads", "kvType", "side"] as const;

/**
 * Finds the pairs, and describes the measurements that only one side has. A trait must be equal if
 * one of the sides has several values of it: if each side ran the suite with one model only, the
 * models may differ.
 */
export function pairsOf(
  a: readonly Report[],
  b: readonly Report[],
): { readonly pairs: readonly Pair[]; readonly missing: readonly string[] } {
  const byThreads = variesThreads(a) || variesThreads(b);
  const pairs: Pair[] = [];
  const missing: string[] = [];
  for (const suite of new Set([...a, ...b].map((report) => report.suite))) {
    const [ofA, ofB] = [a, b].map((side) => side.filter((report) => report.suite === suite));
    const varying = TRAITS.filter((trait) =>
      [ofA!, ofB!].some((own) =>
        new Set(own.map((report) => traitsOf(report, byThreads)[trait])).size > 1
      )
    );
    const keyOf = (report: Report) => {
      const traits = traitsOf(report, byThreads);
      return JSON.stringify(varying.map((trait) => traits[trait]));
    };
    const parts = varying.filter((trait): trait is ConfigurationPart =>
      trait !== "model" && trait !== "side"
    );
    const [groupsA, groupsB] = [Map.groupBy(ofA!, keyOf), Map.groupBy(ofB!, keyOf)];
    for (const [key, own] of groupsA) {
      const others = groupsB.get(key);
      const texts = configurationTexts(own[0]!, parts);
      if (others === undefined) missing.push(titleOf(own[0]!, texts));
      else pairs.push({ a: own, b: others, configuration: texts.join(", ") });
    }
    for (const [key, [first]] of groupsB) {
      if (!groupsA.has(key)) missing.push(titleOf(first!, configurationTexts(first!, parts)));
    }
  }
  return { pairs, missing };
}

function traitsOf(
  { environment: { model, device, engine, host }, interleaved }: Report,
  byThreads: boolean,
): Traits {
  return {
    model: JSON.stringify([model.sha256, model.name]),
    device: device.kind,
    kvType: engine.kvType,
    threads: byThreads ? String(host.threads) : "",
    side: interleaved?.side ?? "",
  };
}

/** Whether one run of bench measured several numbers of threads with otherwise equal traits. */
function variesThreads(reports: readonly Report[]): boolean {
  const groups = Map.groupBy(reports, (report) => {
    const { suite, run: { date, command } } = report;
    return JSON.stringify([suite, date, command, traitsOf(report, false)]);
  });
  return [...groups.values()].some((own) =>
    new Set(own.map(({ environment: { host } }) => host.threads)).size > 1
  );
}

function titleOf({ suite, environment: { model } }: Report, configuration: string[]): string {
  const what = configuration.length === 0 ? "" : ` (${configuration.join(", ")})`;
  return `${suite} of ${model.name}${what}`;
}
