/** The kernel of causal attention; for its fields see attention_fields.ts. */

import {
  call,
  type Code,
  get,
  i32,
  load,
  ModuleBuilder,
  op,
  set,
  when,
  whileLoop,
} from "./assembler.ts";
import {
  ATTENTION,
  firstSeen,
  HEADS,
  PART_HEAD,
  SCORES_BYTES,
  SPLIT_KEYS,
  splitOf,
} from "./attention_fields.ts";
import { addMergeParts } from "./attention_merge.ts";
import { addTile } from "./attention_tile.ts";
import { addFetch } from "./fetch.ts";
import { addKernel, field } from "./operation.ts";
import type { ProductForm } from "./products.ts";
import { type CacheType, TOKEN } from "./rope.ts";

/** Adds the kernel for one element type of the cache. */
export function addAttention(module: ModuleBuilder, type: CacheType, form: ProductForm): number {
  const fetch = addFetch(module);
  const tiles = Array.from(
    { length: HEADS },
    (_, i) => addTile(module, { type, form, heads: i + 1, fetch }),
  );
  const merge = addMergeParts(module);
  const { address } = module;
  return addKernel(module, (f, [operation, from, to, thread]) => {
    const read = (name: keyof typeof ATTENTION) => field(module, operation!, ATTENTION[name]);
    const token = f.local("i32"), kvHead = f.local("i32"), split = f.local("i32");
    const last = f.local("i32"), first = f.local("i32"), position = f.local("i32");
    const heads = f.local("i32"), rest = f.local("i32");
    const meta = f.local(address), scratch = f.local(address), parts = f.local(address);
    const part = f.local(address), q = f.local(address), i = f.local("i32");
    const headAt = op("i32.mul", get(kvHead), read("group"));
    const clamp = (value: Code, bound: Code, more: boolean): Code => [
      ...value,
      ...bound,
      ...op(more ? "i32.gt_s" : "i32.lt_s", value, bound),
      ...op("select"),
    ];
    const start = op("i32.mul", get(split), i32(SPLIT_KEYS));
    /** Calls the tile for `count` query heads of the group, starting at head number `done`. */
    const tile = (count: number, done: Code) =>
      call(
        tiles[count - 1]!,
        get(operation!),
        module.at(get(q), op("i32.mul", done, read("headDim")), module.addressConst(4)),
        get(kvHead),
        module.at(read("tables"), load("i32.load", get(meta), TOKEN.table), module.addressConst(1)),
        clamp(start, get(first), true),
        clamp(op("i32.add", start, i32(SPLIT_KEYS)), op("i32.add", get(position), i32(1)), false),
        module.at(get(part), done, module.extend(read("partBytes"))),
        get(scratch),
      );
    const done = op("i32.sub", read("group"), get(rest));
    const attend: Code = [
      ...set(rest, read("group")),
      ...whileLoop(
        op("i32.ge_u", get(rest), i32(HEADS)),
        tile(HEADS, done),
        set(rest, op("i32.sub", get(rest), i32(HEADS))),
      ),
      ...Array.from(
        { length: HEADS - 1 },
        (_, n) => when(op("i32.eq", get(rest), i32(n + 1)), tile(n + 1, done)),
      ).flat(),
    ];
    const partsAt = (number: Code) =>
      module.at(
        read("parts"),
        op("i32.add", op("i32.mul", number, get(heads)), headAt),
        module.extend(read("partBytes")),
      );
    const ownScratch = module.plus(get(scratch), module.addressConst(HEADS * SCORES_BYTES));
    const all: Code = [
      ...set(parts, partsAt(get(token))),
      ...set(part, get(parts)),
      ...set(split, splitOf(get(first))),
      ...attend,
      ...set(split, op("i32.add", get(split), i32(1))),
      ...set(part, ownScratch),
      ...whileLoop(
        op("i32.le_s", get(split), get(last)),
        attend,
        set(i, i32(0)),
        whileLoop(
          op("i32.lt_u", get(i), read("group")),
          call(
            merge,
            module.at(get(parts), get(i), module.extend(read("partBytes"))),
            module.at(get(part), get(i), module.extend(read("partBytes"))),
            op("i32.sub", read("partBytes"), i32(PART_HEAD)),
          ),
          set(i, op("i32.add", get(i), i32(1))),
        ),
        set(split, op("i32.add", get(split), i32(1))),
      ),
    ];
    const one: Code = [
      ...set(
        part,
        partsAt(op("i32.add", op("i32.mul", get(token), read("splits")), get(split))),
      ),
      ...set(split, op("i32.add", get(split), splitOf(get(first)))),
      ...when(op("i32.le_s", get(split), get(last)), attend),
    ];
    const unit = op("i32.div_u", get(from!), read("splits"));
    return [
      ...set(scratch, module.at(read("scratch"), get(thread!), read("thread"))),
      ...set(heads, op("i32.mul", read("kvHeads"), read("group"))),
      ...whileLoop(
        op("i32.lt_u", get(from!), get(to!)),
        set(split, op("i32.rem_u", get(from!), read("splits"))),
        set(token, op("i32.div_u", unit, read("kvHeads"))),
        set(kvHead, op("i32.rem_u", unit, read("kvHeads"))),
        set(meta, module.at(read("tokens"), get(token), module.addressConst(TOKEN.bytes))),
        set(position, load("i32.load", get(meta), TOKEN.position)),
        set(first, firstSeen(get(position), read("window"))),
        set(last, splitOf(get(position))),
        set(
          q,
          module.at(
            module.at(read("q"), get(token), module.extend(read("qStride"))),
            op("i32.mul", headAt, read("headDim")),
            module.addressConst(4),
          ),
        ),
        when(op("i32.eq", read("splits"), i32(1)), all, one),
        set(from!, op("i32.add", get(from!), i32(1))),
      ),
    ];
  });
}
