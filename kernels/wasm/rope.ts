/**
 * Queries and keys normalized and rotated, keys and values put into the cache. A unit is a head of a
 * token: those of its queries, then those of its keys and values.
 *
 * The cache of a layer is blocks of BLOCK_TOKENS positions: [blocks, kvHeads, headDim', 16] keys, so
 * that lanes are positions, and [blocks, kvHeads, headDim' / 8, 16, 8] values, so that lanes are
 * dimensions; headDim' is headDim filled up with zeros to a multiple of 8.
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

/** Dimensions of a head as the cache has them. */
export function cachedDim(headDim: number): number {
  return Math.ceil(headDim / 8) * 8;
}

/** What is known of each token: its position, and where its sequence's block table begins, in bytes. */
export const TOKEN = { position: 0, table: 4, bytes: 8 } as const;

/**
 * `stride`: bytes between tokens of q, k and v. `pair`, `apart`: floats from one pair's first element
 * to the next one's, and from it to its second. `pairs` of `cos` and `sin` [tokens, pairs]. `scale`
 * multiplies queries, and so does the token's of `temperatures` [tokens], unless they are null.
 * `queryNorm`, `keyNorm`: [headDim] or null. `headBytes` of one head of a block.
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
      // In bytes from the layer's start, the same for keys and values.
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

/** Adds a function (operation, x, angles, norm, scale) that changes a head in place. */
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

/** Adds a function (x, to, place, headDim, keys) that puts a head into a block of the cache. */
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
