/**
 * Kernels that measure the processor's speed at reading memory, float32 arithmetic and integer dot
 * products.
 */

import {
  brIf,
  type Code,
  get,
  i32,
  load,
  type Local,
  loop,
  ModuleBuilder,
  op,
  set,
  splatF32,
  splatI8,
  store,
  whileLoop,
} from "./assembler.ts";
import { addDispatch } from "./dispatch.ts";
import { multiplyAdd } from "./math.ts";
import { addKernel, field, fields } from "./operation.ts";
import type { ProductForm } from "./products.ts";

/** Bytes that a unit of the read kernel reads, and loop iterations of a unit of arithmetic. */
export const PROBE_BYTES = 65536;
const PROBE_ITERATIONS = 4096;
/** Independent vectors per iteration, so that none waits for another. */
const VECTORS = 8;
/** Arithmetic operations per unit: two for each of the 4 floats or 16 bytes of a vector. */
export const FLOAT_OPERATIONS = PROBE_ITERATIONS * VECTORS * 4 * 2;
export const DOT_OPERATIONS = PROBE_ITERATIONS * VECTORS * 16 * 2;

/** `out`: 16 bytes per thread for the results, so that the engine does not eliminate the work. */
export const PROBE = fields([], ["data", "out"]);

/** The module, and the indices of its kernels. */
export interface ProbeModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly read: number;
  readonly floats: number;
  readonly dots: number;
  readonly nothing: number;
}

export function makeProbe(form: ProductForm, maximum: number): ProbeModule {
  const module = new ModuleBuilder(false);
  addDispatch(module);
  const read = addUnits(module, (sums, at) => [
    ...loop(
      ...sums.map((sum, i) =>
        set(sum, op("i32x4.add", get(sum), load("v128.load", get(at), 16 * i)))
      ),
      set(at, op("i32.add", get(at), i32(16 * VECTORS))),
      brIf(0, op("i32.and", get(at), i32(PROBE_BYTES - 1))),
    ),
  ]);
  const arithmetic = (step: (sum: Local) => Code) =>
    addUnits(module, (sums, _, iterations) => [
      ...set(iterations, i32(PROBE_ITERATIONS)),
      ...loop(
        ...sums.map(step),
        set(iterations, op("i32.sub", get(iterations), i32(1))),
        brIf(0, get(iterations)),
      ),
    ]);
  const floats = arithmetic((sum) =>
    set(sum, multiplyAdd(form, get(sum), splatF32(0.5), splatF32(1)))
  );
  const weights = splatI8(3), x = splatI8(5);
  const dots = arithmetic((sum) => {
    switch (form) {
      case "dot32":
        return set(sum, op("i32x4.relaxed_dot_i8x16_i7x16_add_s", x, weights, get(sum)));
      case "dot16":
        return set(
          sum,
          op("i16x8.add", get(sum), op("i16x8.relaxed_dot_i8x16_i7x16_s", x, weights)),
        );
      case "plain":
        // Each of the two instructions multiplies half of the bytes, widened to 16 bits.
        return [0, 1].flatMap(() =>
          set(
            sum,
            op(
              "i32x4.add",
              get(sum),
              op("i32x4.dot_i16x8_s", op("i16x8.extend_low_i8x16_s", x), weights),
            ),
          )
        );
    }
  });
  const nothing = addKernel(module, () => []);
  return { bytes: module.build(maximum), read, floats, dots, nothing };
}

/** Adds a kernel that runs `unit` for each of its units, with the address of the unit's data. */
function addUnits(
  module: ModuleBuilder,
  unit: (sums: readonly Local[], at: Local, iterations: Local) => Code,
): number {
  return addKernel(module, (f, [operation, from, to, thread]) => {
    const sums = f.locals("v128", VECTORS), at = f.local("i32"), iterations = f.local("i32");
    const out = module.at(
      field(module, operation!, PROBE.out),
      get(thread!),
      module.addressConst(16),
    );
    return [
      ...whileLoop(
        op("i32.lt_u", get(from!), get(to!)),
        set(at, module.at(field(module, operation!, PROBE.data), get(from!), i32(PROBE_BYTES))),
        unit(sums, at, iterations),
        set(from!, op("i32.add", get(from!), i32(1))),
      ),
      ...sums.flatMap((sum) => store("v128.store", out, 0, get(sum))),
    ];
  });
}
