/** The suites by name. */

import type { Suite } from "../harness.ts";
import { detokenizer } from "./detokenizer.ts";
import { latency } from "./latency.ts";
import { memory } from "./memory.ts";
import { scalability } from "./scalability.ts";
import { throughput } from "./throughput.ts";

/** In the order in which `bench all` runs them. */
export const SUITES: Readonly<Record<string, Suite>> = {
  throughput,
  latency,
  memory,
  scalability,
  detokenizer,
};
