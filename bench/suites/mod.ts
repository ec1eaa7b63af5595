/** The suites by name. */

import type { Suite } from "../harness.ts";
import { throughput } from "./throughput.ts";

/** In the order in which `bench all` runs them. */
export const SUITES: Readonly<Record<string, Suite>> = { throughput };
