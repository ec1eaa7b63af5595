/** Compares the reports of two sides, result by result. */

import { keyOf, type Report, type Result, type Settings, type Unit } from "../report.ts";
import { type Condition, type Difference, differencesOf } from "./conditions.ts";
import { type Pair, pairsOf } from "./measurements.ts";
import { type Ratio, ratioOf } from "./ratio.ts";

/** The reports of a side; measurements.ts says which of them are runs of the same measurement. */
export interface Side {
  readonly name: string;
  readonly reports: readonly Report[];
}

/**
 * What a ratio's interval shows. Speeds are "faster" or "slower", other measures "higher" or
 * "lower".
 */
export type Verdict = "faster" | "slower" | "higher" | "lower" | "no difference shown" | "unknown";

/** A result that both sides have. */
export interface Row extends Ratio {
  readonly metric: string;
  readonly settings: Settings;
  readonly unit: Unit;
  /** "unknown" without an interval. */
  readonly verdict: Verdict;
  /**
   * How much slower B is: 0.05 for 5 %, negative if it is faster. Undefined if it is not a speed.
   */
  readonly slowdown?: number;
}

/** The results of one suite with one model and configuration. */
export interface Part extends Pair {
  readonly suite: string;
  /** Whether their repetitions were interleaved. */
  readonly paired: boolean;
  readonly differences: readonly Difference[];
  readonly rows: readonly Row[];
  /** Number of results that only one side has. */
  readonly unmatched: number;
}

/** The comparison of B with A. */
export interface Comparison {
  readonly a: string;
  readonly b: string;
  readonly parts: readonly Part[];
  /** Suites, with their models and configurations, that only one side has. */
  readonly missing: readonly string[];
}

/** Which conditions may differ, and which results are compared. */
export interface CompareOptions {
  /** Conditions that may differ, because the comparison is about them. */
  readonly across?: readonly Condition[];
  /** Ids of the metrics to compare; default: all. */
  readonly only?: readonly string[];
}

/**
 * Compares two sides.
 *
 * @throws {RangeError} if they have no suite in common, or were measured under different
 * conditions.
 */
export function compare(a: Side, b: Side, options: CompareOptions = {}): Comparison {
  const { across = [] } = options;
  const { pairs, missing } = pairsOf(a.reports, b.reports);
  if (pairs.length === 0) {
    const suites = new Set(a.reports.map(({ suite }) => suite));
    const common = b.reports.some(({ suite }) => suites.has(suite));
    throw new RangeError(
      `Cannot compare ${b.name} with ${a.name}: no ${
        common ? "measurement" : "suite"
      } is in both (${missing.join("; ")})`,
    );
  }
  const parts = pairs.map((pair) => {
    for (const report of [...pair.a, ...pair.b]) {
      refuse(differencesOf(pair.a.slice(0, 1), [report]), across, report.suite);
    }
    return partOf(pair, options);
  });
  return { a: a.name, b: b.name, parts, missing };
}

function refuse(
  differences: readonly Difference[],
  across: readonly Condition[],
  suite: string,
): void {
  for (const { condition, name, a, b } of differences) {
    if (condition === undefined || across.includes(condition)) continue;
    throw new RangeError(
      `Cannot compare ${suite}: the ${condition} differs (${name}: ${a} and ${b}); ` +
        `use --across ${condition} to compare anyway`,
    );
  }
}

function partOf({ a, b, configuration }: Pair, { only }: CompareOptions): Part {
  const [first, second] = [a[0]!, b[0]!];
  const paired = a.length === 1 && b.length === 1 && first.interleaved !== undefined &&
    first.interleaved.id === second.interleaved?.id;
  const wanted = (result: Result) => only === undefined || only.includes(result.metric);
  const [ofA, ofB] = [common(a, wanted), common(b, wanted)];
  const rows = [...ofA].flatMap(([key, results]) => {
    const others = ofB.get(key);
    return others === undefined ? [] : [rowOf(results, others, paired)];
  });
  return {
    suite: first.suite,
    configuration,
    a,
    b,
    paired,
    differences: differencesOf(a, b),
    rows,
    unmatched: ofA.size + ofB.size - 2 * rows.length,
  };
}

/** The results that all runs of a side have, by key. */
function common(
  reports: readonly Report[],
  wanted: (result: Result) => boolean,
): Map<string, Result[]> {
  const all = reports.flatMap(({ results }) => results.filter(wanted));
  const byKey = Map.groupBy(all, keyOf);
  return new Map([...byKey].filter(([, results]) => results.length === reports.length));
}

function rowOf(a: readonly Result[], b: readonly Result[], paired: boolean): Row {
  const { metric, settings, unit } = a[0]!;
  const ratio = ratioOf(a, b, { paired });
  const kind = kindOf(unit);
  const { ratio: value } = ratio;
  return {
    metric,
    settings,
    unit,
    ...ratio,
    verdict: verdictOf(ratio, kind),
    ...(value !== undefined && kind !== "other" && {
      slowdown: (kind === "time" ? value : 1 / value) - 1,
    }),
  };
}

type Kind = "time" | "rate" | "other";

/** Whether less of it is faster ("time"), more of it ("rate"), or neither. */
function kindOf(unit: Unit): Kind {
  switch (unit) {
    case "us":
    case "ms":
    case "s":
    case "ms/token":
      return "time";
    case "tok/s":
    case "req/s":
    case "GB/s":
    case "GFLOPS":
    case "GOPS":
      return "rate";
    case "":
    case "%":
    case "x":
    case "bytes":
      return "other";
  }
}

function verdictOf({ interval }: Ratio, kind: Kind): Verdict {
  if (interval === undefined) return "unknown";
  const [low, high] = interval;
  if (low <= 1 && high >= 1) return "no difference shown";
  const above = low > 1;
  if (kind === "other") return above ? "higher" : "lower";
  return above === (kind === "rate") ? "faster" : "slower";
}

/** The rows in which B is shown to be slower, by more than `share`. */
export function slowerThan({ parts }: Comparison, share: number): Row[] {
  return parts.flatMap(({ rows }) =>
    rows.filter(({ verdict, slowdown }) => verdict === "slower" && slowdown! > share)
  );
}
