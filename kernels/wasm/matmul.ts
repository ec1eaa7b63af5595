/**
 * Products of a weight matrix and activations: y = x · weightsᵀ. A unit is a strip of eight rows.
 * Its weights stay in the L1 cache while all tokens are multiplied by them, so each weight is read
 * from memory once. A token's results are bit-identical whatever other tokens are in the same
 * product.
 */

import {
  block,
  br,
  brIf,
  call,
  type Code,
  get,
  i32,
  load,
  type Local,
  loop,
  ModuleBuilder,
  op,
  set,
  store,
  when,
  whileLoop,
} from "./assembler.ts";
import { addFetch, LINE_BITS, LINE_BYTES } from "./fetch.ts";
import { PANELS, SPAN_COLUMNS } from "./formats.ts";
import { addKernel, field, fields } from "./operation.ts";

/**
 * `columns`: with padding. `tokens`: number of rows of x and y; `xRows` and `yRows` are the indices
 * of these rows, 32 bits each. `factors`: see StripLayout. `xThread`: bytes between the x of two
 * threads, or 0. `accumulate`: add to y. `bias`: [rows] or null. `offsets`: memory for the offsets
 * of a strip's weights, `offsetsThread` bytes for each thread; see products.ts.
 */
export const MATMUL = fields(
  ["columns", "tokens", "stripBytes", "factors", "xStride", "yStride", "accumulate"],
  ["weights", "x", "y", "xRows", "yRows", "bias", "xThread", "offsets", "offsetsThread"],
);

/**
 * Functions for one and for two tokens. With more tokens, the sixteen vector registers of an x86
 * processor do not suffice, or activations are loaded too often.
 */
export interface Tiles {
  readonly one: number;
  readonly two: number;
  /**
   * For many tokens: a function that writes the offsets of a strip's weights, and one for two
   * tokens that reads them.
   */
  readonly many?: { readonly write: number; readonly two: number };
}

/**
 * From this many tokens on, writing the offsets once costs less than computing them for every two
 * tokens.
 */
const MANY = 4;

/** Bytes of a strip's offsets per span of 32 columns. */
export const OFFSET_BYTES = 16 * PANELS;

/**
 * Bytes of strips that are fetched at once for few tokens, unless the strips are long; see
 * fetch.ts. The processor's own prefetching restarts with each strip. Measured with one token, on
 * matrices that do not fit in any cache: fetching reduces the time to 0.65 of that without for 576
 * columns of Q4_1 (3 KB per strip), to 0.73 for 896 of Q8_0 (8 KB), and hardly changes it for 2,048
 * of Q4_0 (9 KB). With many tokens, the next strip is read while this one is multiplied, one cache
 * line per span, which triggers the processor's own prefetching: with eight tokens, the same
 * matrices take 0.83, 0.82 and 0.9 of the time.
 */
const FETCHED = 32 * 1024;

/**
 * Bytes per strip from which the processor's own prefetching is as good or better. With longer
 * strips fetched too, decoding took 1.06 times as long for TinyLlama in Q4_0 (9 and 25 KB per
 * strip), and 1.02 to 1.03 times for Qwen2.5 0.5B.
 */
const LONG_STRIP = 8 * 1024;

/** Adds the kernel that calls the tiles for each unit and all its tokens. */
export function addMatmulKernel(module: ModuleBuilder, tiles: Tiles): number {
  const fetch = addFetch(module);
  const { many } = tiles;
  return addKernel(module, (f, [operation, from, to, thread]) => {
    const read = (name: keyof typeof MATMUL) => field(module, operation, MATMUL[name]);
    const weights = f.local(module.address), x = f.local(module.address);
    const y = f.local(module.address), bias = f.local(module.address);
    // The strips from `from` (inclusive) to `fetched` (exclusive) have been fetched.
    const fetched = f.local("i32"), count = f.local("i32");
    const next = f.local(module.address), at = f.local("i32");
    const token = f.local("i32"), tokens = f.local("i32"), offsets = f.local(module.address);
    const row = (base: Local, of: "x" | "y", i: number) =>
      module.at(
        get(base),
        load(
          "i32.load",
          module.at(read(`${of}Rows`), op("i32.add", get(token), i32(i)), module.addressConst(4)),
        ),
        module.extend(read(`${of}Stride`)),
      );
    const tile = (index: number, count: number): Code => {
      const places = Array.from({ length: count }, (_, i) => i);
      return [
        // The lines of the next strip that earlier tiles have not read; once all are read, its
        // first lines, which are cached.
        ...set(at, op("i32.mul", get(token), i32(LINE_BYTES / SPAN_COLUMNS))),
        ...set(at, op("i32.mul", get(at), op("i32.shr_u", read("columns"), i32(1)))),
        ...set(at, op("i32.mul", get(at), op("i32.lt_u", get(at), read("stripBytes")))),
        ...call(
          index,
          get(operation),
          get(weights),
          get(bias),
          get(offsets),
          module.at(get(next), get(at), module.addressConst(1)),
          ...places.map((i) => row(x, "x", i)),
          ...places.map((i) => row(y, "y", i)),
        ),
        ...set(token, op("i32.add", get(token), i32(count))),
      ];
    };
    const atLeast = (count: number) =>
      op("i32.ge_u", op("i32.sub", get(tokens), get(token)), i32(count));
    const choose = (
      condition: Code,
      a: Code,
      b: Code,
    ) => [...a, ...b, ...condition, ...op("select")];
    const isMany = op("i32.ge_u", get(tokens), i32(MANY));
    const left = op("i32.sub", get(to), get(from));
    const strips = choose(
      op("i32.lt_u", read("stripBytes"), i32(LONG_STRIP)),
      op("i32.div_u", i32(FETCHED), read("stripBytes")),
      i32(0),
    );
    const fetchStrips = [
      ...set(count, choose(op("i32.lt_u", strips, left), strips, left)),
      ...set(count, choose(isMany, i32(1), get(count))),
      ...set(fetched, choose(isMany, get(to), op("i32.add", get(from), get(count)))),
      ...call(
        fetch,
        get(weights),
        op("i32.shr_u", op("i32.mul", get(count), read("stripBytes")), i32(LINE_BITS)),
      ),
    ];
    const hasNext = op("i32.and", isMany, op("i32.gt_u", left, i32(1)));
    return [
      ...set(x, module.at(read("x"), get(thread), read("xThread"))),
      ...set(offsets, module.at(read("offsets"), get(thread), read("offsetsThread"))),
      ...set(tokens, read("tokens")),
      ...block(loop(
        brIf(1, op("i32.ge_u", get(from), get(to))),
        set(
          weights,
          module.at(read("weights"), get(from), module.extend(read("stripBytes"))),
        ),
        when(op("i32.ge_u", get(from), get(fetched)), fetchStrips),
        set(next, module.at(get(weights), hasNext, module.extend(read("stripBytes")))),
        set(y, module.at(read("y"), get(from), module.addressConst(32))),
        set(
          bias,
          module.at(
            read("bias"),
            get(from),
            // A null bias stays null.
            module.extend(op("i32.mul", module.notNull(read("bias")), i32(32))),
          ),
        ),
        set(token, i32(0)),
        many === undefined ? [] : when(
          op("i32.ge_u", get(tokens), i32(MANY)),
          [
            ...call(many.write, get(operation), get(weights), get(bias), get(offsets), get(next)),
            ...whileLoop(atLeast(2), tile(many.two, 2)),
          ],
        ),
        whileLoop(atLeast(2), tile(tiles.two, 2)),
        when(atLeast(1), tile(tiles.one, 1)),
        set(from, op("i32.add", get(from), i32(1))),
        br(0),
      )),
    ];
  });
}

/** Returns the address of a strip's factors. */
export function stripFactors(module: ModuleBuilder, operation: Local, strip: Local): Code {
  return module.plus(get(strip), module.extend(field(module, operation, MATMUL.factors)));
}

/** Writes a token's four results for a panel. */
export function storeResult(
  module: ModuleBuilder,
  operation: Local,
  { bias, y, value, panel }: { bias: Local; y: Local; value: Local; panel: number },
): Code {
  const at = 16 * panel;
  return [
    ...when(
      module.notNull(field(module, operation, MATMUL.bias)),
      set(value, op("f32x4.add", get(value), load("v128.load", get(bias), at))),
    ),
    ...when(
      field(module, operation, MATMUL.accumulate),
      set(value, op("f32x4.add", get(value), load("v128.load", get(y), at))),
    ),
    ...store("v128.store", get(y), at, get(value)),
  ];
}
