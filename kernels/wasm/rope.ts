/**
 * Normalizes and rotates queries and keys, and writes keys and values to the cache. A unit is a
 * head of a token: first its query heads, then its KV heads.
 *
 * The cache of a layer consists of blocks of BLOCK_TOKENS positions. Keys are
 * [blocks, kvHeads, headDim', 16], so that lanes are positions; values are
 * [blocks, kvHeads, headDim' / 8, 16, 8], so that lanes are dimensions. headDim' is headDim padded
 * with zeros to a multiple of 8.
 */

import { BLOCK_TOKENS } from "../sizes.ts";
import {
  call,
  type Code,
  f32,
  get,
  i32,
  load,
  type Local,
  type ModuleBuilder,
  op,
  set,
  store,
  when,
  whileLoop,
} from "./assembler.ts";
import { addRootMean, addToHalf } from "./math.ts";
import { addKernel, field, fields } from "./operation.ts";

/** Element type of the cache. */
export type CacheType = "f16" | "f32";
export const CACHE_BYTES = { f16: 2, f32: 4 } as const;

/** Returns the padded dimensions of a head in the cache (headDim'). */
export function cachedDim(headDim: number): number {
  return Math.ceil(headDim / 8) * 8;
}

/**
 * The record of each token: its position, and the offset of its sequence's block table in bytes.
 */
export const TOKEN = { position: 0, table: 4, bytes: 8 } as const;

/**
 * `stride`: bytes between tokens of q, k and v. `pair`: floats between the first elements of two
 * adjacent pairs. `apart`: floats between the two elements of a pair. `pairs`: pairs of each token
 * in `cos` and `sin` [tokens, pairs]. Queries are multiplied by `scale` and, unless it is null, by
 * the token's element of `temperatures` [tokens]. `queryNorm`, `keyNorm`: [headDim] or null.
 * `headBytes`: bytes of one head of a block.
 */
export const ROPE = fields(
  ["heads", "kvHeads", "headDim", "pairs", "pair", "apart", "stride", "headBytes"],
  // deno-fmt-ignore
  [
    "q", "k", "v", "cos", "sin", "temperatures", "queryNorm", "keyNorm", "keys", "values", "tokens",
    "tables",
  ],
  ["epsilon", "scale"],
);

export function addRope(module: ModuleBuilder, type: CacheType): number {
  const head = addHead(module);
  const put = addPut(module, type);
  const { address } = module;
  return addKernel(module, (f, [operation, from, to]) => {
    const read = (name: keyof typeof ROPE) => field(module, operation, ROPE[name]);
    const token = f.local("i32"), index = f.local("i32"), perToken = f.local("i32");
    const angles = f.local("i32"), meta = f.local(address), key = f.local(address);
    const value = f.local(address), place = f.local("i32"), blockAt = f.local(address);
    const scale = f.local("f32");
    const position = load("i32.load", get(meta), TOKEN.position);
    const vector = (name: "q" | "k" | "v", number: Code) =>
      module.at(
        module.at(read(name), get(token), module.extend(read("stride"))),
        op("i32.mul", number, read("headDim")),
        module.addressConst(4),
      );
    const temperature = load(
      "f32.load",
      module.at(read("temperatures"), get(token), module.addressConst(4)),
    );
    const query: Code = [
      ...set(scale, read("scale")),
      ...when(
        module.notNull(read("temperatures")),
        set(scale, op("f32.mul", get(scale), temperature)),
      ),
      ...call(
        head,
        get(operation),
        vector("q", get(index)),
        get(angles),
        read("queryNorm"),
        get(scale),
      ),
    ];
    const keyAndValue: Code = [
      ...set(index, op("i32.sub", get(index), read("heads"))),
      ...set(key, vector("k", get(index))),
      ...set(value, vector("v", get(index))),
      ...call(head, get(operation), get(key), get(angles), read("keyNorm"), f32(1)),
      ...set(place, op("i32.and", position, i32(BLOCK_TOKENS - 1))),
      // Byte offset from the start of the layer, the same for keys and values.
      ...set(
        blockAt,
        module.at(
          module.addressConst(0),
          op(
            "i32.add",
            op(
              "i32.mul",
              load(
                "i32.load",
                module.at(
                  module.at(
                    read("tables"),
                    load("i32.load", get(meta), TOKEN.table),
                    module.addressConst(1),
                  ),
                  op("i32.shr_u", position, i32(Math.log2(BLOCK_TOKENS))),
                  module.addressConst(4),
                ),
              ),
              read("kvHeads"),
            ),
            get(index),
          ),
          module.extend(read("headBytes")),
        ),
      ),
      ...call(
        put,
        get(key),
        module.plus(read("keys"), get(blockAt)),
        get(place),
        read("headDim"),
        i32(1),
      ),
      ...call(
        put,
        get(value),
        module.plus(read("values"), get(blockAt)),
        get(place),
        read("headDim"),
        i32(0),
      ),
    ];
    return [
      ...set(perToken, op("i32.add", read("heads"), read("kvHeads"))),
      ...whileLoop(
        op("i32.lt_u", get(from), get(to)),
        set(token, op("i32.div_u", get(from), get(perToken))),
        set(index, op("i32.rem_u", get(from), get(perToken))),
        set(angles, op("i32.mul", get(token), read("pairs"))),
        set(meta, module.at(read("tokens"), get(token), module.addressConst(TOKEN.bytes))),
        when(op("i32.lt_u", get(index), read("heads")), query, keyAndValue),
        set(from, op("i32.add", get(from), i32(1))),
      ),
    ];
  });
}

/**
 * Adds a function (operation, x, angles, norm, scale) that normalizes, rotates and scales a head in
 * place.
 */
function addHead(module: ModuleBuilder): number {
  const { address } = module;
  const rootMean = addRootMean(module);
  return module.add(
    [address, address, "i32", address, "f32"],
    [],
    (f, [operation, x, angles, norm, scale]) => {
      const read = (name: keyof typeof ROPE) => field(module, operation!, ROPE[name]);
      const i = f.local("i32"), root = f.local("f32"), at = f.local(address);
      const second = f.local(address), cos = f.local("f32"), sin = f.local("f32");
      const a = f.local("f32"), b = f.local("f32");
      const element = (base: Local, index: Code) =>
        module.at(get(base), index, module.addressConst(4));
      const angle = (table: "cos" | "sin") =>
        load(
          "f32.load",
          module.at(read(table), op("i32.add", get(angles!), get(i)), module.addressConst(4)),
        );
      const next = set(i, op("i32.add", get(i), i32(1)));
      const each = (count: Code, body: Code) => [
        ...set(i, i32(0)),
        ...whileLoop(op("i32.lt_u", get(i), count), body, next),
      ];
      const normalized: Code = [
        ...set(root, call(rootMean, get(x!), read("headDim"), read("epsilon"))),
        ...each(read("headDim"), [
          ...set(at, element(x!, get(i))),
          ...store(
            "f32.store",
            get(at),
            0,
            op(
              "f32.mul",
              op("f32.mul", load("f32.load", get(at)), get(root)),
              load("f32.load", element(norm!, get(i))),
            ),
          ),
        ]),
      ];
      return [
        ...when(module.notNull(get(norm!)), normalized),
        ...each(read("pairs"), [
          ...set(at, element(x!, op("i32.mul", get(i), read("pair")))),
          ...set(second, module.at(get(at), read("apart"), module.addressConst(4))),
          ...set(cos, angle("cos")),
          ...set(sin, angle("sin")),
          ...set(a, load("f32.load", get(at))),
          ...set(b, load("f32.load", get(second))),
          ...store(
            "f32.store",
            get(at),
            0,
            op("f32.sub", op("f32.mul", get(a), get(cos)), op("f32.mul", get(b), get(sin))),
          ),
          ...store(
            "f32.store",
            get(second),
            0,
            op("f32.add", op("f32.mul", get(a), get(sin)), op("f32.mul", get(b), get(cos))),
          ),
        ]),
        ...when(
          op("f32.ne", get(scale!), f32(1)),
          each(read("headDim"), [
            ...set(at, element(x!, get(i))),
            ...store(
              "f32.store",
              get(at),
              0,
              op("f32.mul", load("f32.load", get(at)), get(scale!)),
            ),
          ]),
        ),
      ];
    },
  );
}

/**
 * Adds a function (x, to, place, headDim, keys) that writes a head to a block of the cache, as a
 * key or a value.
 */
function addPut(module: ModuleBuilder, type: CacheType): number {
  const { address } = module;
  const toHalf = addToHalf(module);
  const size = CACHE_BYTES[type];
  return module.add([address, address, "i32", "i32", "i32"], [], (f, [x, to, place, dim, keys]) => {
    const i = f.local("i32"), at = f.local(address), index = f.local("i32");
    const value = load("f32.load", module.at(get(x!), get(i), module.addressConst(4)));
    const keyAt = op("i32.add", op("i32.mul", get(i), i32(BLOCK_TOKENS)), get(place!));
    const valueAt = op(
      "i32.add",
      op("i32.mul", op("i32.and", get(i), i32(-8)), i32(BLOCK_TOKENS)),
      op(
        "i32.add",
        op("i32.mul", get(place!), i32(8)),
        op("i32.and", get(i), i32(7)),
      ),
    );
    return whileLoop(
      op("i32.lt_u", get(i), get(dim!)),
      when(get(keys!), set(index, keyAt), set(index, valueAt)),
      set(at, module.at(get(to!), get(index), module.addressConst(size))),
      type === "f16"
        ? store("i32.store16", get(at), 0, call(toHalf, value))
        : store("f32.store", get(at), 0, value),
      set(i, op("i32.add", get(i), i32(1))),
    );
  });
}
