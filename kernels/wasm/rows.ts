/** Kernels over rows of float32: additions to the hidden states, and the argmax of the logits. */

import {
  call,
  type Code,
  get,
  i32,
  lane,
  load,
  type ModuleBuilder,
  op,
  set,
  splatF32,
  splatI32,
  store,
  vector,
  when,
  whileLoop,
} from "./assembler.ts";
import { acrossLanes, addRootMean, whileCount } from "./math.ts";
import { addKernel, field, fields } from "./operation.ts";
import { advance } from "./prepare.ts";

/**
 * hidden += norm(row) · weight. A unit is a token. `columns`: without padding; `padded`: with it.
 * Strides are in bytes.
 */
export const NORM_ADD = fields(
  ["columns", "padded", "stride"],
  ["from", "hidden", "weight"],
  ["epsilon"],
);

/** Adds the kernel of the norm after a mixer or a feed-forward network. */
export function addNormAdd(module: ModuleBuilder): number {
  const rootMean = addRootMean(module);
  return addKernel(module, (f, [operation, from, to]) => {
    const read = (name: keyof typeof NORM_ADD) => field(module, operation!, NORM_ADD[name]);
    const { address } = module;
    const x = f.local(address), y = f.local(address), weight = f.local(address);
    const scale = f.local("v128"), count = f.local("i32");
    const row = (base: "from" | "hidden") =>
      module.at(read(base), get(from!), module.extend(read("stride")));
    return whileLoop(
      op("i32.lt_u", get(from!), get(to!)),
      set(x, row("from")),
      set(y, row("hidden")),
      set(weight, read("weight")),
      set(scale, op("f32x4.splat", call(rootMean, get(x), read("columns"), read("epsilon")))),
      set(count, read("padded")),
      whileCount(count, 4, [
        ...store(
          "v128.store",
          get(y),
          0,
          op(
            "f32x4.add",
            load("v128.load", get(y)),
            op(
              "f32x4.mul",
              op("f32x4.mul", load("v128.load", get(x)), get(scale)),
              load("v128.load", get(weight)),
            ),
          ),
        ),
        ...advance(module, [x, y, weight]),
      ]),
      set(from!, op("i32.add", get(from!), i32(1))),
    );
  });
}

/**
 * out = Σ weight · row over the `used` rows of each token, added in order; with `accumulate`, the
 * sum is added to `out`. `rows` [tokens · used, padded], `weights` [tokens · used].
 */
export const COMBINE = fields(
  ["used", "padded", "stride", "outStride", "accumulate"],
  ["rows", "weights", "out"],
);

/** Adds the kernel that combines the results of a token's experts. */
export function addCombine(module: ModuleBuilder): number {
  return addKernel(module, (f, [operation, from, to]) => {
    const read = (name: keyof typeof COMBINE) => field(module, operation!, COMBINE[name]);
    const { address } = module;
    const x = f.local(address), y = f.local(address), slot = f.local("i32");
    const factor = f.local("v128"), count = f.local("i32"), end = f.local("i32");
    const outAt = set(y, module.at(read("out"), get(from!), module.extend(read("outStride"))));
    const clear = [
      ...outAt,
      ...set(count, read("padded")),
      ...whileCount(count, 4, [
        ...store("v128.store", get(y), 0, splatF32(0)),
        ...advance(module, [y]),
      ]),
    ];
    const add: Code = [
      ...set(x, module.at(read("rows"), get(slot), module.extend(read("stride")))),
      ...outAt,
      ...set(
        factor,
        load(
          "v128.load32_splat",
          module.at(read("weights"), get(slot), module.addressConst(4)),
        ),
      ),
      ...set(count, read("padded")),
      ...whileCount(count, 4, [
        ...store(
          "v128.store",
          get(y),
          0,
          op(
            "f32x4.add",
            load("v128.load", get(y)),
            op("f32x4.mul", load("v128.load", get(x)), get(factor)),
          ),
        ),
        ...advance(module, [x, y]),
      ]),
      ...set(slot, op("i32.add", get(slot), i32(1))),
    ];
    return whileLoop(
      op("i32.lt_u", get(from!), get(to!)),
      when(op("i32.eqz", read("accumulate")), clear),
      set(slot, op("i32.mul", get(from!), read("used"))),
      set(end, op("i32.add", get(slot), read("used"))),
      whileLoop(op("i32.lt_u", get(slot), get(end)), add),
      set(from!, op("i32.add", get(from!), i32(1))),
    );
  });
}

/**
 * Finds the index of the largest of each row's first `columns` values (a multiple of 4); of equal
 * values, the first. `out` [rows]: the index, and 0 if all values are finite. A unit is a row.
 */
export const PICK = fields(["columns", "stride"], ["rows", "out"]);

export function addPick(module: ModuleBuilder): number {
  return addKernel(module, (f, [operation, from, to]) => {
    const read = (name: keyof typeof PICK) => field(module, operation!, PICK[name]);
    const { address } = module;
    const at = f.local(address), count = f.local("i32"), out = f.local(address);
    const most = f.local("v128"), best = f.local("v128"), index = f.local("v128");
    const x = f.local("v128"), more = f.local("v128"), wrong = f.local("v128");
    const largest = f.local("v128");
    const lanes = vector(new Uint8Array(Int32Array.of(0, 1, 2, 3).buffer));
    const choose = (a: Code, b: Code) => op("v128.bitselect", a, b, get(more));
    return whileLoop(
      op("i32.lt_u", get(from!), get(to!)),
      set(at, module.at(read("rows"), get(from!), module.extend(read("stride")))),
      set(most, splatF32(-Infinity)),
      set(best, splatI32(0)),
      set(wrong, splatI32(0)),
      set(index, lanes),
      set(count, read("columns")),
      whileCount(count, 4, [
        ...set(x, load("v128.load", get(at))),
        // NaN − NaN and ∞ − ∞ are NaN, whose bits are not 0.
        ...set(wrong, op("v128.or", get(wrong), op("f32x4.sub", get(x), get(x)))),
        ...set(more, op("f32x4.gt", get(x), get(most))),
        ...set(most, choose(get(x), get(most))),
        ...set(best, choose(get(index), get(best))),
        ...set(index, op("i32x4.add", get(index), f.constant(splatI32(4)))),
        ...advance(module, [at]),
      ]),
      set(largest, get(most)),
      acrossLanes(largest, (a, b) => op("f32x4.max", a, b)),
      // The lowest index among the lanes with the largest value.
      set(more, op("f32x4.eq", get(most), get(largest))),
      set(best, choose(get(best), splatI32(0x7fffffff))),
      set(out, module.at(read("out"), get(from!), module.addressConst(8))),
      acrossLanes(best, (a, b) => op("i32x4.min_s", a, b)),
      store("i32.store", get(out), 0, lane("i32x4.extract_lane", get(best), 0)),
      store("i32.store", get(out), 4, op("v128.any_true", get(wrong))),
      set(from!, op("i32.add", get(from!), i32(1))),
    );
  });
}
