/** All suites. */

import type { Suite } from "../harness/harness.ts";
import { breakdown } from "./breakdown.ts";
import { detokenizer } from "./detokenizer.ts";
import { kernels } from "./kernels.ts";
import { latency } from "./latency.ts";
import { load } from "./load.ts";
import { memory } from "./memory.ts";
import { modes } from "./modes.ts";
import { pagedCache } from "./paged_cache.ts";
import { prefixCache } from "./prefix_cache.ts";
import { scalability } from "./scalability.ts";
import { scenarios } from "./scenarios.ts";
import { speed } from "./speed.ts";
import { throughput } from "./throughput.ts";

/**
 * In the order in which `bench all` runs them. breakdown is first, as it measures the time of
 * compiling.
 */
export const SUITES: readonly Suite[] = [
  breakdown,
  throughput,
  latency,
  memory,
  scalability,
  detokenizer,
  prefixCache,
  pagedCache,
  scenarios,
  speed,
  modes,
  kernels,
];

/** Suites that only measure servers. */
export const SERVER_SUITES: readonly Suite[] = [load];
