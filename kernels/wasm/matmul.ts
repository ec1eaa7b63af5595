/**
 * Products of a matrix of quants and activations: y = x · weightsᵀ. A unit of work is eight rows;
 * the weights of a unit stay in the first-level cache while all tokens are multiplied by them, so
 * that each is read from memory once. A token's results are the same bits with any others.
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
 * `columns`: padded ones. `tokens`: rows of x and y; which rows they are, `xRows` and `yRows` say,
 * 32 bits each. `factors`: see StripLayout. `xThread`: bytes between one thread's x and the next one's, or 0. `accumulate`:
 * adds to y. `bias`: [rows] or null. `offsets`: memory for those of a strip's weights, `offsetsThread`
 * bytes for each thread; see products.ts.
 */
export const MATMUL = fields(
  ["columns", "tokens", "stripBytes", "factors", "xStride", "yStride", "accumulate"],
  ["weights", "x", "y", "xRows", "yRows", "bias", "xThread", "offsets", "offsetsThread"],
);

/**
 * Functions for one and for two tokens: with more an x86 processor's
 * sixteen vectors do not suffice, or activations are loaded too often.
 */
export interface Tiles {
  readonly one: number;
  readonly two: number;
  /** For many tokens: writes the offsets of a strip's weights, and a tile of two that reads them. */
  readonly many?: { readonly write: number; readonly two: number };
}

/** From so many tokens on, writing offsets once costs less than finding them out for each two tokens. */
const MANY = 4;

/** Bytes of the offsets of a strip's 32 columns. */
export const OFFSET_BYTES = 16 * PANELS;

/**
 * Bytes of strips that are fetched at once for few tokens, if they are not long; see fetch.ts. The
 * processor's own fetching ahead begins anew with each strip: of matrices that no cache holds, one of 576
 * columns of Q4_1 (3 KB a strip) is multiplied with one token in 0.65 of the time without, one of 896 of
 * Q8_0 (8 KB) in 0.73, and of 2,048 of Q4_0 (9 KB) in about the same. With many tokens, the next strip is
 * read while this one is multiplied, a line a span, which gets the processor's own fetching going: with
 * eight tokens, these take 0.83, 0.82 and 0.9 of the time.
 */
const FETCHED = 32 * 1024;

/**
 * Bytes of a strip from which on the processor's own fetching does as well or better: TinyLlama in Q4_0
 * (9 and 25 KB) decoded in 1.06 of the time where these were fetched too, Qwen2.5 0.5B in 1.02 to 1.03.
 */
const LONG_STRIP = 8 * 1024;

/** The kernel around the tiles: units, and the tokens of each. */
export function addMatmulKernel(module: ModuleBuilder, tiles: Tiles): number {
  const fetch = addFetch(module);
  const { many } = tiles;
  return addKernel(module, (f, [operation, from, to, thread]) => {
    const read = (name: keyof typeof MATMUL) => field(module, operation, MATMUL[name]);
    const weights = f.local(module.address), x = f.local(module.address);
    const y = f.local(module.address), bias = f.local(module.address);
    // The strips from `from` to before `fetched` are.
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
        // The lines that tiles before have not read, or if they have read all, some that are near.
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
            // Null stays null.
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

/** The address of a strip's factors. */
export function stripFactors(module: ModuleBuilder, operation: Local, strip: Local): Code {
  return module.plus(get(strip), module.extend(field(module, operation, MATMUL.factors)));
}

/** Writes a panel's four results of a token. */
export function storeResult(
  module: ModuleBuilder,
  operation: Local,
  { bias, y, value, panel }: { bias: Local; y: Local; value: Local; panel: number },
): Code {
  const at = 16 * panel;
  return [
    ...when(
      // With the offset of a second panel it may be small, and yet there is none.
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
