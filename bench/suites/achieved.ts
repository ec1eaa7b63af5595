/** The table "Achieved": decode throughput, TPOT and TTFT as shares of their limits. */

import type { Harness } from "../harness/harness.ts";
import { text } from "../report/format.ts";
import { OF_LIMIT } from "../report/metrics.ts";
import type { Result } from "../report/report.ts";
import { plural } from "../../engine/plural.ts";

/** Results of a request that runs alone on the device. */
export interface Achieved {
  readonly promptTokens: number;
  readonly maxTokens: number;
  readonly first: Result;
  readonly perToken: Result;
  readonly decode: Result;
}

/** Adds the table; without limits, only a note that says why. */
export function achieved(harness: Harness, measured: Achieved): void {
  const { promptTokens, maxTokens, first, perToken, decode } = measured;
  const table = harness.table("Achieved", "Metric | Value | Limit (computed) | % of limit");
  const rate = harness.limit(1, promptTokens, maxTokens);
  const prefill = harness.prefillLimit(promptTokens);
  if (rate === undefined || prefill === undefined) {
    table.note(
      harness.target.environment.endpoint
        ? "Not known: the device of an endpoint cannot be probed."
        : "Not known: there is no device to probe.",
    );
    return;
  }
  const row = (
    { name, calculation }: { readonly name: string; readonly calculation: string },
    result: Result,
    { value, share }: { readonly value: number; readonly share: number },
  ) =>
    table.row(
      name,
      result,
      `${text({ value, unit: result.unit })} (${calculation})`,
      harness.at({ of: result.metric }).value(OF_LIMIT, 100 * share),
    );
  const least = 1000 / rate;
  row(
    { name: "Decode throughput", calculation: "the lower of the two limits above" },
    decode,
    { value: rate, share: decode.value / rate },
  );
  row(
    { name: "TPOT", calculation: `1000 / ${text({ value: rate, unit: "tok/s" })}` },
    perToken,
    { value: least, share: least / perToken.value },
  );
  const soonest = 1000 * promptTokens / prefill;
  row(
    {
      name: `TTFT (${promptTokens} ${plural(promptTokens, "token")})`,
      calculation: `${promptTokens} / ${text({ value: prefill, unit: "tok/s" })}`,
    },
    first,
    { value: soonest, share: soonest / first.value },
  );
  const overs = [decode.value / rate, soonest / first.value].some((share) => share > 1);
  if (overs) {
    table.note("**Above 100 %: the probe was disturbed or a cache helped; measure again.**");
  }
}
