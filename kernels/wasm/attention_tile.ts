/** Attention of up to HEADS query heads of one KV head over one split; see attention_fields.ts. */

import { BLOCK_TOKENS } from "../sizes.ts";
import {
  brIf,
  call,
  type Code,
  f32,
  FunctionBuilder,
  get,
  i32,
  load,
  type Local,
  loop,
  ModuleBuilder,
  op,
  set,
  shuffle32,
  splatF32,
  store,
  whileLoop,
} from "./assembler.ts";
import { ATTENTION, PART_HEAD, SCORES_BYTES } from "./attention_fields.ts";
import { LINE_BITS } from "./fetch.ts";
import {
  acrossLanes,
  exponential,
  firstLane,
  HALF_SCALE,
  multiplyAdd,
  upperHalves,
  whileCount,
} from "./math.ts";
import { field } from "./operation.ts";
import type { ProductForm } from "./products.ts";
import { CACHE_BYTES, type CacheType } from "./rope.ts";

/**
 * Loads eight elements of the cache into two vectors. Float16 elements are separated into even and
 * odd ones, which needs a single load and thus a single bounds check.
 */
function loadEight(
  f: FunctionBuilder,
  { type, pair: [a, b] }: { readonly type: CacheType; readonly pair: readonly Local[] },
  { at, offset }: { readonly at: Local; readonly offset: number },
): Code {
  if (type === "f32") {
    return [
      ...set(a!, load("v128.load", get(at), offset)),
      ...set(b!, load("v128.load", get(at), offset + 16)),
    ];
  }
  return [
    ...set(b!, load("v128.load", get(at), offset)),
    ...set(a!, upperHalves(f, op("i32x4.shl", get(b!), i32(16)))),
    ...set(b!, upperHalves(f, get(b!))),
  ];
}

/** Returns the elements that `loadEight` separated in their original order. */
function inOrder(type: CacheType, [a, b]: readonly Local[]): [Code, Code] {
  return type === "f32" ? [get(a!), get(b!)] : [
    shuffle32(get(a!), get(b!), [0, 4, 1, 5]),
    shuffle32(get(a!), get(b!), [2, 6, 3, 7]),
  ];
}

interface TileOptions {
  readonly type: CacheType;
  readonly form: ProductForm;
  readonly heads: number;
  /** Index of the function of fetch.ts. */
  readonly fetch: number;
}

/**
 * Adds a function (operation, q, kvHead, table, from, to, part, scores) that computes the part of
 * `heads` query heads of one KV head for the positions `from` (inclusive) to `to` (exclusive) of
 * one split.
 */
export function addTile(module: ModuleBuilder, options: TileOptions): number {
  const { address } = module;
  const { type, form, heads, fetch } = options;
  const size = CACHE_BYTES[type];
  const params = [address, address, "i32", address, "i32", "i32", address, address] as const;
  return module.add(params, [], (f, [operation, q, kvHead, table, from, to, part, scores]) => {
    const read = (name: keyof typeof ATTENTION) => field(module, operation!, ATTENTION[name]);
    const base = f.local("i32"), end = f.local("i32"), at = f.local("i32");
    const cached = f.local(address), column = f.local(address), row = f.local(address);
    const count = f.local("i32"), vectors = f.locals("v128", 2), x = f.local("v128");
    const sums = Array.from({ length: heads }, () => f.locals("v128", 2));
    const fours = f.locals("v128", heads);
    const all = sums.map((_, h) => h);
    const kvHeads = f.local("i32"), headBytes = f.local(address);
    const bits = i32(Math.log2(BLOCK_TOKENS));
    /** Address of the KV head in the block that contains position `at`. */
    const blockAt = (of: "keys" | "values") =>
      module.at(
        read(of),
        op(
          "i32.add",
          op(
            "i32.mul",
            load(
              "i32.load",
              module.at(get(table!), op("i32.shr_u", get(at), bits), module.addressConst(4)),
            ),
            get(kvHeads),
          ),
          get(kvHead!),
        ),
        get(headBytes),
      );
    const scoreAt = (position: Code) =>
      module.at(get(scores!), op("i32.sub", position, get(base)), module.addressConst(4));
    const clear = sums.flat().flatMap((sum) => set(sum, splatF32(0)));
    const loadVectors = (at: Local, offset: number) =>
      loadEight(f, { type, pair: vectors }, { at, offset });
    /** Adds the vectors, multiplied by lane `i` of head `h`'s factors, to the sums of head `h`. */
    const addLane = (h: number, i: number) =>
      add(h, shuffle32(get(fours[h]!), get(fours[h]!), [i, i, i, i]));
    const add = (h: number, factor: Code) => [
      ...set(x, factor),
      ...sums[h]!.flatMap((sum, i) =>
        set(sum, multiplyAdd(form, get(vectors[i]!), get(x), get(sum)))
      ),
    ];
    const headStride = op("i32.mul", read("headDim"), i32(4));
    const queries = f.locals(address, heads);

    const blockScores = [0, 1].flatMap((half) => [
      ...set(column, get(cached)),
      ...queries.flatMap((query, h) =>
        set(query, module.at(get(q!), headStride, module.addressConst(h)))
      ),
      ...clear,
      ...set(count, op("i32.shr_u", read("cachedDim"), i32(2))),
      ...loop(
        ...all.map((h) => set(fours[h]!, load("v128.load", get(queries[h]!)))),
        ...[0, 1, 2, 3].flatMap((d) => [
          loadVectors(column, size * (BLOCK_TOKENS * d + 8 * half)),
          ...all.map((h) => addLane(h, d)),
        ]),
        set(column, module.plus(get(column), module.addressConst(size * BLOCK_TOKENS * 4))),
        ...queries.map((query) => set(query, module.plus(get(query), module.addressConst(16)))),
        set(count, op("i32.sub", get(count), i32(1))),
        brIf(0, get(count)),
      ),
      ...set(row, scoreAt(op("i32.add", get(at), i32(8 * half)))),
      ...all.flatMap((h) =>
        inOrder(type, sums[h]!).flatMap((sum, i) =>
          store("v128.store", get(row), SCORES_BYTES * h + 16 * i, sum)
        )
      ),
    ]);

    const forBlocks = (body: Code): Code => [
      ...set(at, get(base)),
      ...whileLoop(
        op("i32.lt_u", get(at), get(to!)),
        body,
        set(at, op("i32.add", get(at), i32(BLOCK_TOKENS))),
      ),
    ];

    /**
     * Fetches whole blocks, even if only some of their positions are within the run: the positions
     * of a block are interleaved in memory.
     */
    const fetchBlocks = (of: "keys" | "values") =>
      forBlocks(call(fetch, blockAt(of), op("i32.shr_u", read("headBytes"), i32(LINE_BITS))));

    const hide = (first: Code, limit: Code): Code => [
      ...set(at, first),
      ...whileLoop(
        op("i32.lt_u", get(at), limit),
        set(row, scoreAt(get(at))),
        ...all.map((h) => store("f32.store", get(row), SCORES_BYTES * h, f32(-Infinity))),
        set(at, op("i32.add", get(at), i32(1))),
      ),
    ];

    const oneKey: Code = [
      ...loadVectors(cached, 0),
      ...all.flatMap((h) => add(h, load("v128.load32_splat", get(row), SCORES_BYTES * h))),
    ];
    const fourKeys: Code = [
      ...all.flatMap((h) => set(fours[h]!, load("v128.load", get(row), SCORES_BYTES * h))),
      ...[0, 1, 2, 3].flatMap((key) => [
        ...loadVectors(cached, 8 * size * key),
        ...all.flatMap((h) => addLane(h, key)),
      ]),
    ];
    const nextKeys = (keys: number): Code => [
      ...set(cached, module.plus(get(cached), module.addressConst(8 * size * keys))),
      ...set(row, module.plus(get(row), module.addressConst(4 * keys))),
      ...set(count, op("i32.sub", get(count), i32(keys))),
    ];

    /**
     * Adds the weighted values of the block's positions that are within the run, for eight
     * dimensions.
     */
    const blockValues: Code = [
      ...set(
        count,
        [...get(from!), ...get(at), ...op("i32.gt_u", get(from!), get(at)), ...op("select")],
      ),
      ...set(row, scoreAt(get(count))),
      ...set(
        cached,
        module.at(
          module.plus(blockAt("values"), get(column)),
          op("i32.and", get(count), i32(BLOCK_TOKENS - 1)),
          module.addressConst(8 * size),
        ),
      ),
      ...set(end, op("i32.add", get(at), i32(BLOCK_TOKENS))),
      ...set(
        end,
        [...get(end), ...get(to!), ...op("i32.lt_u", get(end), get(to!)), ...op("select")],
      ),
      ...set(count, op("i32.sub", get(end), get(count))),
      ...whileLoop(op("i32.ge_s", get(count), i32(4)), fourKeys, nextKeys(4)),
      ...whileLoop(op("i32.gt_s", get(count), i32(0)), oneKey, nextKeys(1)),
    ];

    const dims = f.local("i32"), out = f.local(address);
    return [
      ...set(kvHeads, read("kvHeads")),
      ...set(headBytes, module.extend(read("headBytes"))),
      ...set(base, op("i32.and", get(from!), i32(-BLOCK_TOKENS))),
      ...fetchBlocks("keys"),
      ...forBlocks([...set(cached, blockAt("keys")), ...blockScores]),
      ...hide(get(base), get(from!)),
      ...hide(
        get(to!),
        op("i32.and", op("i32.add", get(to!), i32(BLOCK_TOKENS - 1)), i32(-BLOCK_TOKENS)),
      ),
      ...all.flatMap((h) =>
        softmax(module, f, { h, type, form, base, to: to!, scores: scores!, part: part!, read })
      ),
      ...fetchBlocks("values"),
      ...set(dims, op("i32.shr_u", read("cachedDim"), i32(3))),
      ...set(column, module.addressConst(0)),
      ...set(out, module.plus(get(part!), module.addressConst(PART_HEAD))),
      ...whileCount(dims, 1, [
        ...clear,
        ...forBlocks(blockValues),
        ...all.flatMap((h) => [
          ...set(row, module.at(get(out), read("partBytes"), module.addressConst(h))),
          ...inOrder(type, sums[h]!).flatMap((sum, i) =>
            store("v128.store", get(row), 16 * i, sum)
          ),
        ]),
        ...set(column, module.plus(get(column), module.addressConst(size * BLOCK_TOKENS * 8))),
        ...set(out, module.plus(get(out), module.addressConst(32))),
      ]),
    ];
  });
}

/**
 * Replaces one head's scores with e^(score − largest), and writes the largest score and the sum.
 * Float16 values are read without their factor (see `loadHalves`), so the weights are multiplied by
 * it instead. If it were applied at the end, most products would be subnormal, and each of those
 * costs x86 processors a hundred cycles or more.
 */
function softmax(
  module: ModuleBuilder,
  f: FunctionBuilder,
  { h, type, form, base, to, scores, part, read }: {
    readonly h: number;
    readonly type: CacheType;
    readonly form: ProductForm;
    readonly base: Local;
    readonly to: Local;
    readonly scores: Local;
    readonly part: Local;
    readonly read: (name: keyof typeof ATTENTION) => Code;
  },
): Code {
  const at = f.local(module.address), left = f.local("i32");
  const most = f.local("v128"), sum = f.local("v128"), out = f.local(module.address);
  const each = (body: Code) => [
    ...set(at, get(scores)),
    ...set(left, op("i32.sub", get(to), get(base))),
    ...whileCount(left, 4, [
      ...body,
      ...set(at, module.plus(get(at), module.addressConst(16))),
    ]),
  ];
  const score = load("v128.load", get(at), SCORES_BYTES * h);
  return [
    ...set(most, splatF32(-Infinity)),
    ...each(set(most, op("f32x4.pmax", get(most), score))),
    ...acrossLanes(most, (a, b) => op("f32x4.max", a, b)),
    ...set(sum, splatF32(0)),
    ...each([
      ...store(
        "v128.store",
        get(at),
        SCORES_BYTES * h,
        exponential(f, op("f32x4.sub", score, get(most)), {
          scale: type === "f16" ? HALF_SCALE : 0,
          form,
        }),
      ),
      ...set(sum, op("f32x4.add", get(sum), score)),
    ]),
    ...acrossLanes(sum, (a, b) => op("f32x4.add", a, b)),
    ...set(out, module.at(get(part), read("partBytes"), module.addressConst(h))),
    ...store("f32.store", get(out), 0, firstLane(most)),
    ...store("f32.store", get(out), 4, firstLane(sum)),
  ];
}
