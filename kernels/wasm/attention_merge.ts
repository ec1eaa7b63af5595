/** Merges the parts of splits; see attention_fields.ts. */

import {
  type Code,
  FunctionBuilder,
  get,
  i32,
  load,
  type Local,
  ModuleBuilder,
  op,
  set,
  splatF32,
  store,
  when,
  whileLoop,
} from "./assembler.ts";
import { firstSeen, MERGE, PART_HEAD, splitOf } from "./attention_fields.ts";
import { exponential, firstLane, sigmoidTimes, whileCount } from "./math.ts";
import { field } from "./operation.ts";
import { addPrepare, advance } from "./prepare.ts";
import { TOKEN } from "./rope.ts";

/**
 * Sets the factors by which two parts are multiplied before they are added: e to the power of the
 * part's own largest score minus the largest of both. Updates `most` and `sum` to those of both
 * parts.
 */
function mergeFactors(
  f: FunctionBuilder,
  { most, sum, other, factor, otherFactor }: {
    readonly most: Local;
    readonly sum: Local;
    readonly other: Local;
    readonly factor: Local;
    readonly otherFactor: Local;
  },
): Code {
  const joint = f.local("v128");
  const otherMost = load("v128.load32_splat", get(other), 0);
  const otherSum = load("v128.load32_splat", get(other), 4);
  return [
    ...set(joint, op("f32x4.max", get(most), otherMost)),
    ...set(factor, exponential(f, op("f32x4.sub", get(most), get(joint)))),
    ...set(otherFactor, exponential(f, op("f32x4.sub", otherMost, get(joint)))),
    ...set(
      sum,
      op(
        "f32x4.add",
        op("f32x4.mul", get(sum), get(factor)),
        op("f32x4.mul", otherSum, get(otherFactor)),
      ),
    ),
    ...set(most, get(joint)),
  ];
}

function mergeLocals(f: FunctionBuilder) {
  const [most, sum, factor, otherFactor] = f.locals("v128", 4);
  return { most: most!, sum: sum!, factor: factor!, otherFactor: otherFactor! };
}

/** Adds `bytes` of values at `from` to those at `into`, each multiplied by its factor. */
function mergeValues(
  module: ModuleBuilder,
  f: FunctionBuilder,
  { into, from, bytes, factor, otherFactor }: {
    readonly into: Code;
    readonly from: Code;
    readonly bytes: Code;
    readonly factor: Local;
    readonly otherFactor: Local;
  },
): Code {
  const a = f.local(module.address), b = f.local(module.address), left = f.local("i32");
  return [
    ...set(a, into),
    ...set(b, from),
    ...set(left, bytes),
    ...whileCount(left, 16, [
      ...store(
        "v128.store",
        get(a),
        0,
        op(
          "f32x4.add",
          op("f32x4.mul", load("v128.load", get(a)), get(factor)),
          op("f32x4.mul", load("v128.load", get(b)), get(otherFactor)),
        ),
      ),
      ...set(a, module.plus(get(a), module.addressConst(16))),
      ...set(b, module.plus(get(b), module.addressConst(16))),
    ]),
  ];
}

/** Adds a function (into, from, bytes) that merges the part at `from` into the one at `into`. */
export function addMergeParts(module: ModuleBuilder): number {
  const { address } = module;
  return module.add([address, address, "i32"], [], (f, [into, from, bytes]) => {
    const locals = mergeLocals(f);
    const values = (part: Local) => module.plus(get(part), module.addressConst(PART_HEAD));
    return [
      ...set(locals.most, load("v128.load32_splat", get(into!), 0)),
      ...set(locals.sum, load("v128.load32_splat", get(into!), 4)),
      ...mergeFactors(f, { ...locals, other: from! }),
      ...mergeValues(module, f, {
        ...locals,
        into: values(into!),
        from: values(from!),
        bytes: get(bytes!),
      }),
      ...store("f32.store", get(into!), 0, firstLane(locals.most)),
      ...store("f32.store", get(into!), 4, firstLane(locals.sum)),
    ];
  });
}

/** Adds the kernel that merges the parts of attention into output rows. */
export function addMerge(module: ModuleBuilder): number {
  return addPrepare(module, MERGE, (f, [operation, token, row]) => {
    const read = (name: keyof typeof MERGE) => field(module, operation, MERGE[name]);
    const { address } = module;
    const locals = mergeLocals(f);
    const head = f.local("i32"), heads = f.local("i32"), split = f.local("i32");
    const last = f.local("i32"), position = f.local("i32"), left = f.local("i32");
    const gate = f.local("v128"),
      part = f.local(address),
      out = f.local(address),
      at = f.local(address);
    const splits = read("splits"), window = read("window");
    const bytes = op("i32.mul", read("headDim"), i32(4));
    const copy = (from: Local, to: Local, scale: Local): Code => [
      ...set(left, bytes),
      ...whileCount(left, 16, [
        ...store(
          "v128.store",
          get(to),
          0,
          op("f32x4.mul", load("v128.load", get(from)), get(scale)),
        ),
        ...set(from, module.plus(get(from), module.addressConst(16))),
        ...set(to, module.plus(get(to), module.addressConst(16))),
      ]),
    ];
    const nextPart = set(part, module.at(get(part), get(heads), module.extend(read("partBytes"))));
    return [
      ...set(heads, read("heads")),
      ...set(
        position,
        load(
          "i32.load",
          module.at(read("tokens"), get(token), module.addressConst(TOKEN.bytes)),
          TOKEN.position,
        ),
      ),
      // If a unit of attention was a whole KV head, its splits are already merged.
      ...set(
        last,
        [
          ...i32(0),
          ...op("i32.sub", splitOf(get(position)), splitOf(firstSeen(get(position), window))),
          ...op("i32.eq", splits, i32(1)),
          ...op("select"),
        ],
      ),
      ...set(head, i32(0)),
      ...whileLoop(
        op("i32.lt_u", get(head), get(heads)),
        set(
          part,
          module.at(
            read("parts"),
            op("i32.add", op("i32.mul", op("i32.mul", get(token), splits), get(heads)), get(head)),
            module.extend(read("partBytes")),
          ),
        ),
        set(out, module.at(get(row), get(head), module.extend(bytes))),
        set(locals.most, load("v128.load32_splat", get(part), 0)),
        set(locals.sum, load("v128.load32_splat", get(part), 4)),
        set(locals.factor, splatF32(1)),
        set(at, module.plus(get(part), module.addressConst(PART_HEAD))),
        copy(at, out, locals.factor),
        set(split, i32(0)),
        whileLoop(
          op("i32.lt_s", get(split), get(last)),
          nextPart,
          mergeFactors(f, { ...locals, other: part }),
          mergeValues(module, f, {
            ...locals,
            into: module.at(get(row), get(head), module.extend(bytes)),
            from: module.plus(get(part), module.addressConst(PART_HEAD)),
            bytes,
          }),
          set(split, op("i32.add", get(split), i32(1))),
        ),
        set(
          locals.factor,
          op("f32x4.div", op("f32x4.splat", read("factor")), get(locals.sum)),
        ),
        set(at, module.at(get(row), get(head), module.extend(bytes))),
        set(out, get(at)),
        copy(at, out, locals.factor),
        set(head, op("i32.add", get(head), i32(1))),
      ),
      ...when(module.notNull(read("gate")), [
        ...set(at, module.at(read("gate"), get(token), module.extend(read("gateStride")))),
        ...set(out, get(row)),
        ...set(left, read("columns")),
        ...whileCount(left, 4, [
          ...set(gate, load("v128.load", get(at))),
          ...store(
            "v128.store",
            get(out),
            0,
            sigmoidTimes(f, gate, load("v128.load", get(out))),
          ),
          ...advance(module, [at, out]),
        ]),
      ]),
    ];
  });
}
