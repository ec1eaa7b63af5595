/**
 * Kernels that measure the processor's speed at reading memory, float32 arithmetic and integer dot
 * products.
 */

import {
  brIf,
  type Code,
  type FunctionBuilder,
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
/** Vectors that an iteration of the read kernel loads. */
const READ_VECTORS = 8;
/**
 * Independent vectors per iteration of arithmetic, so that none waits for another: processors start
 * two multiply-adds per cycle, and each takes up to six cycles. More would not fit in 16 registers.
 */
const VECTORS = 12;
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
  const read = addUnits(module, READ_VECTORS, ({ sums, at }) => [
    ...loop(
      ...sums.map((sum, i) =>
        set(sum, op("i32x4.add", get(sum), load("v128.load", get(at), 16 * i)))
      ),
      set(at, op("i32.add", get(at), i32(16 * READ_VECTORS))),
      brIf(0, op("i32.and", get(at), i32(PROBE_BYTES - 1))),
    ),
  ]);
  const arithmetic = (step: (f: FunctionBuilder, sum: Local) => Code) =>
    addUnits(module, VECTORS, ({ f, sums, iterations }) => [
      ...set(iterations, i32(PROBE_ITERATIONS)),
      ...loop(
        ...sums.map((sum) => step(f, sum)),
        set(iterations, op("i32.sub", get(iterations), i32(1))),
        brIf(0, get(iterations)),
      ),
    ]);
  const floats = arithmetic((f, sum) =>
    set(sum, multiplyAdd(form, get(sum), f.constant(splatF32(0.5)), f.constant(splatF32(1))))
  );
  // Each product depends on its own sum, so that V8 does not compute equal products once.
  const dots = arithmetic((f, sum) => {
    const weights = f.constant(splatI8(3));
    const add = (type: "i16x8" | "i32x4", product: Code) =>
      set(sum, op(`${type}.add`, get(sum), product));
    switch (form) {
      case "dot32":
        return set(
          sum,
          op("i32x4.relaxed_dot_i8x16_i7x16_add_s", f.constant(splatI8(5)), weights, get(sum)),
        );
      case "dot16":
        return add("i16x8", op("i16x8.relaxed_dot_i8x16_i7x16_s", get(sum), weights));
      case "plain":
        // Each of the two instructions multiplies half of the bytes, widened to 16 bits.
        return (["low", "high"] as const).flatMap((half) =>
          add(
            "i32x4",
            op("i32x4.dot_i16x8_s", op(`i16x8.extend_${half}_i8x16_s`, get(sum)), weights),
          )
        );
    }
  });
  const nothing = addKernel(module, () => []);
  return { bytes: module.build(maximum), read, floats, dots, nothing };
}

/** Code and locals of a unit. */
interface UnitLocals {
  readonly f: FunctionBuilder;
  /** Vectors that the unit changes, so that the engine does not eliminate its work. */
  readonly sums: readonly Local[];
  /** Address of the unit's data. */
  readonly at: Local;
  readonly iterations: Local;
}

/** Adds a kernel that runs `unit` for each of its units. */
function addUnits(
  module: ModuleBuilder,
  vectors: number,
  unit: (locals: UnitLocals) => Code,
): number {
  return addKernel(module, (f, [operation, from, to, thread]) => {
    const sums = f.locals("v128", vectors), at = f.local("i32"), iterations = f.local("i32");
    const out = module.at(
      field(module, operation!, PROBE.out),
      get(thread!),
      module.addressConst(16),
    );
    return [
      ...whileLoop(
        op("i32.lt_u", get(from!), get(to!)),
        set(at, module.at(field(module, operation!, PROBE.data), get(from!), i32(PROBE_BYTES))),
        unit({ f, sums, at, iterations }),
        set(from!, op("i32.add", get(from!), i32(1))),
      ),
      ...sums.flatMap((sum) => store("v128.store", out, 0, get(sum))),
    ];
  });
}
