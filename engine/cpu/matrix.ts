/** A matrix in the shared memory. */

import type { TensorType } from "../../kernels/tensor_types.ts";
import type { StripLayout } from "../../kernels/wasm/formats.ts";
import type { StripMatrix } from "../../kernels/wasm/unpack.ts";

/** A matrix in strips. */
export interface Matrix extends StripMatrix {
  readonly type: TensorType;
  readonly rows: number;
  readonly layout: StripLayout;
}
