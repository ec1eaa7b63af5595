/**
 * Kernels that prepare the input of matrix products: a row of float32 for each token, and its
 * encodings as integers. A unit is a token. With few tokens, every thread computes all rows itself
 * rather than wait for another.
 */

import {
  call,
  type Code,
  type FunctionBuilder,
  get,
  i32,
  load,
  type Local,
  type ModuleBuilder,
  op,
  set,
  splatF32,
  store,
  when,
  whileLoop,
} from "./assembler.ts";
import { SPAN_COLUMNS } from "./formats.ts";
import { addRootMean, exponential, whileCount } from "./math.ts";
import { addKernel, type Field, field, fields } from "./operation.ts";

/**
 * Maximum number of encodings that one preparation writes: the matrices of queries, keys and values
 * may each need a different one.
 */
export const ENCODINGS = 3;

/**
 * `columns`: without padding; rows are padded with zeros to whole spans. `encode0` …: table indices
 * of the encoders (activations.ts), or −1. `thread`: bytes between the outputs of two threads, or
 * 0. All strides are in bytes.
 */
export const OUTPUT_INTEGERS = [
  "columns",
  "encode0",
  "encode1",
  "encode2",
  "rowStride",
  "encodedStride",
] as const;
export const OUTPUT_ADDRESSES = ["row", "out0", "out1", "out2", "thread"] as const;

/**
 * RMSNorm of the rows of `from` ([rows, padded columns] float32) that `rows` lists, multiplied by
 * `weight`.
 */
export const NORM = fields(
  [...OUTPUT_INTEGERS, "fromStride"],
  [...OUTPUT_ADDRESSES, "from", "rows", "weight"],
  ["epsilon"],
);

/** activation(gate) · up, both [tokens, padded columns] float32. */
export const GATE = fields([...OUTPUT_INTEGERS, "fromStride"], [...OUTPUT_ADDRESSES, "gate", "up"]);

type OutputFields = Readonly<
  Record<(typeof OUTPUT_INTEGERS)[number] | (typeof OUTPUT_ADDRESSES)[number], Field>
>;

/**
 * Adds a kernel that writes the rows of tokens: `makeRow` writes the float32 row of one token,
 * which is then encoded. The locals for `makeRow` are the operation, the token's index, the address
 * of the row, and the padded number of columns.
 */
export function addPrepare(
  module: ModuleBuilder,
  output: OutputFields,
  makeRow: (f: FunctionBuilder, locals: readonly [Local, Local, Local, Local]) => Code,
): number {
  const encoderType = module.type([module.address, module.address, "i32"], []);
  return addKernel(module, (f, [operation, from, to, thread]) => {
    const row = f.local(module.address), own = f.local(module.address), padded = f.local("i32");
    const read = (name: keyof OutputFields) => field(module, operation!, output[name]);
    const encode = (which: 0 | 1 | 2) =>
      when(
        op("i32.ge_s", read(`encode${which}`), i32(0)),
        module.callIndirect(
          encoderType,
          read(`encode${which}`),
          get(row),
          module.at(
            module.plus(read(`out${which}`), get(own)),
            get(from!),
            module.extend(read("encodedStride")),
          ),
          op("i32.div_u", get(padded), i32(SPAN_COLUMNS)),
        ),
      );
    return [
      ...set(
        padded,
        op("i32.and", op("i32.add", read("columns"), i32(SPAN_COLUMNS - 1)), i32(-SPAN_COLUMNS)),
      ),
      ...set(own, module.at(module.addressConst(0), get(thread!), read("thread"))),
      ...whileLoop(
        op("i32.lt_u", get(from!), get(to!)),
        set(
          row,
          module.at(
            module.plus(read("row"), get(own)),
            get(from!),
            module.extend(read("rowStride")),
          ),
        ),
        makeRow(f, [operation, from, row, padded]),
        encode(0),
        encode(1),
        encode(2),
        set(from!, op("i32.add", get(from!), i32(1))),
      ),
    ];
  });
}

/** Adds the kernel of RMSNorm. */
export function addNorm(module: ModuleBuilder): number {
  const rootMean = addRootMean(module);
  return addPrepare(module, NORM, (f, [operation, token, row, padded]) => {
    const read = (name: keyof typeof NORM) => field(module, operation, NORM[name]);
    const x = f.local(module.address), weight = f.local(module.address);
    const out = f.local(module.address), scale = f.local("v128"), count = f.local("i32");
    const index = load("i32.load", module.at(read("rows"), get(token), module.addressConst(4)));
    return [
      ...set(x, module.at(read("from"), index, module.extend(read("fromStride")))),
      ...set(weight, read("weight")),
      ...set(out, get(row)),
      ...set(
        scale,
        op(
          "f32x4.splat",
          call(rootMean, get(x), read("columns"), read("epsilon")),
        ),
      ),
      ...set(count, get(padded)),
      ...whileCount(count, 4, [
        ...store(
          "v128.store",
          get(out),
          0,
          op(
            "f32x4.mul",
            op("f32x4.mul", load("v128.load", get(x)), get(scale)),
            load("v128.load", get(weight)),
          ),
        ),
        ...advance(module, [x, weight, out]),
      ]),
    ];
  });
}

export type Activation = "silu" | "gelu";

/** max(x, 0)² without a gate: `from` [tokens, padded columns] float32. */
export const RELU2 = fields([...OUTPUT_INTEGERS, "fromStride"], [...OUTPUT_ADDRESSES, "from"]);

/** Adds the kernel of squared ReLU. */
export function addRelu2(module: ModuleBuilder): number {
  return addPrepare(module, RELU2, (f, [operation, token, row, padded]) => {
    const read = (name: keyof typeof RELU2) => field(module, operation, RELU2[name]);
    const from = f.local(module.address), out = f.local(module.address);
    const x = f.local("v128"), count = f.local("i32");
    return [
      ...set(from, module.at(read("from"), get(token), module.extend(read("fromStride")))),
      ...set(out, get(row)),
      ...set(count, get(padded)),
      ...whileCount(count, 4, [
        ...set(x, op("f32x4.max", load("v128.load", get(from)), f.constant(splatF32(0)))),
        ...store("v128.store", get(out), 0, op("f32x4.mul", get(x), get(x))),
        ...advance(module, [from, out]),
      ]),
    ];
  });
}

/**
 * Adds the gate kernel for one activation. Both activations are x / (1 + e^−z): silu with z = x,
 * GELU in its tanh form with z = 2 · sqrt(2 / π) · (x + 0.044715 x³).
 */
export function addGate(module: ModuleBuilder, activation: Activation): number {
  return addPrepare(module, GATE, (f, [operation, token, row, padded]) => {
    const read = (name: keyof typeof GATE) => field(module, operation, GATE[name]);
    const gate = f.local(module.address), up = f.local(module.address);
    const out = f.local(module.address), x = f.local("v128"), z = f.local("v128");
    const count = f.local("i32");
    const at = (base: "gate" | "up") =>
      module.at(read(base), get(token), module.extend(read("fromStride")));
    const factor = 2 * Math.sqrt(2 / Math.PI);
    const cubic = op(
      "f32x4.mul",
      get(x),
      op(
        "f32x4.add",
        f.constant(splatF32(factor)),
        op("f32x4.mul", f.constant(splatF32(factor * 0.044715)), op("f32x4.mul", get(x), get(x))),
      ),
    );
    return [
      ...set(gate, at("gate")),
      ...set(up, at("up")),
      ...set(out, get(row)),
      ...set(count, get(padded)),
      ...whileCount(count, 4, [
        ...set(x, load("v128.load", get(gate))),
        ...set(z, activation === "silu" ? get(x) : cubic),
        ...store(
          "v128.store",
          get(out),
          0,
          op(
            "f32x4.mul",
            op(
              "f32x4.div",
              get(x),
              op("f32x4.add", f.constant(splatF32(1)), exponential(f, op("f32x4.neg", get(z)))),
            ),
            load("v128.load", get(up)),
          ),
        ),
        ...advance(module, [gate, up, out]),
      ]),
    ];
  });
}

/** Advances addresses by one vector. */
export function advance(module: ModuleBuilder, addresses: readonly Local[]): Code {
  return addresses.flatMap((a) => set(a, module.plus(get(a), module.addressConst(16))));
}
