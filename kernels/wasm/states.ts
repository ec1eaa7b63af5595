/**
 * Code that the kernels of recurrent states share (RecurrentHeads of engine/model/config.ts). A
 * unit is a value head of a sequence. Each token of the sequence updates and reads the head's
 * state.
 */

import {
  type Code,
  type FunctionBuilder,
  get,
  i32,
  load,
  type Local,
  type ModuleBuilder,
  op,
  set,
  shuffle32,
  splatF32,
  store,
  when,
  whileLoop,
} from "./assembler.ts";
import { SEQUENCE } from "./delta_net.ts";
import { exponential, logOnePlus, whileCount } from "./math.ts";
import { addKernel, field, type fields } from "./operation.ts";
import { advance } from "./prepare.ts";

/**
 * `inputs` [tokens, channels], `steps` [tokens, valueHeads] and `out` [tokens, values] all have
 * `stride` bytes per token. `decays` [valueHeads]; `states` [slots, valueHeads, valueDim, keyDim],
 * with `stateStride` bytes per slot.
 */
export const STATE_INTEGERS = [
  "keyHeads",
  "valueHeads",
  "valueDim",
  "stride",
  "stateStride",
] as const;
export const STATE_ADDRESSES = [
  "inputs",
  "steps",
  "decays",
  "out",
  "states",
  "sequences",
] as const;

type StateFields = ReturnType<
  typeof fields<(typeof STATE_INTEGERS)[number], (typeof STATE_ADDRESSES)[number]>
>;

/** Rows of a state that are updated together. */
export const ROWS = 4;

/** Locals for the code of a unit. */
export interface StateUnit {
  readonly operation: Local;
  /** Index of the head. */
  readonly head: Local;
  /** Byte offset of the current token's rows. */
  readonly at: Local;
  /** Address of the next rows of the state. */
  readonly state: Local;
}

/** The code that is specific to a kernel. */
interface StateCode {
  /** Runs before the tokens of a head. */
  readonly head: Code;
  /** Runs for each token, before the rows of the state. */
  readonly token: Code;
  /** Processes the next ROWS rows of the state, and advances the address past them. */
  readonly rows: Code;
}

/** Adds a kernel for heads whose queries and keys have `keyDim` dimensions. */
export function addStateKernel(
  module: ModuleBuilder,
  { fields, keyDim }: { readonly fields: StateFields; readonly keyDim: number },
  write: (f: FunctionBuilder, unit: StateUnit) => StateCode,
): number {
  return addKernel(module, (f, [operation, from, to]) => {
    const read = (name: keyof StateFields) => field(module, operation!, fields[name]);
    const { address } = module;
    const sequence = f.local(address), head = f.local("i32"), first = f.local(address);
    const at = f.local("i32"), left = f.local("i32"), count = f.local("i32");
    const state = f.local(address);
    const code = write(f, { operation: operation!, head, at, state });
    const own = (name: keyof typeof SEQUENCE) => load("i32.load", get(sequence), SEQUENCE[name]);
    return whileLoop(
      op("i32.lt_u", get(from!), get(to!)),
      set(
        sequence,
        module.at(
          read("sequences"),
          op("i32.div_u", get(from!), read("valueHeads")),
          module.addressConst(SEQUENCE.bytes),
        ),
      ),
      set(head, op("i32.rem_u", get(from!), read("valueHeads"))),
      code.head,
      set(
        first,
        module.at(
          module.at(read("states"), own("slot"), module.extend(read("stateStride"))),
          op("i32.mul", get(head), read("valueDim")),
          module.addressConst(4 * keyDim),
        ),
      ),
      when(own("fresh"), [
        ...set(state, get(first)),
        ...set(count, op("i32.mul", read("valueDim"), i32(keyDim))),
        ...whileCount(count, 4, [
          ...store("v128.store", get(state), 0, splatF32(0)),
          ...advance(module, [state]),
        ]),
      ]),
      set(at, op("i32.mul", own("first"), read("stride"))),
      set(left, own("count")),
      whileCount(left, 1, [
        ...code.token,
        ...set(state, get(first)),
        ...set(count, read("valueDim")),
        ...whileCount(count, ROWS, code.rows),
        ...set(at, op("i32.add", get(at), read("stride"))),
      ]),
      set(from!, op("i32.add", get(from!), i32(1))),
    );
  });
}

/** Loads the head's value from the array at `base` into all lanes. */
export function ofHead(module: ModuleBuilder, head: Local, base: Code): Code {
  return load("v128.load32_splat", module.at(base, get(head), module.addressConst(4)));
}

/** Returns ln(1 + e^x) in each lane. */
export function softplus(f: FunctionBuilder, x: Local): Code {
  const small = exponential(f, op("f32x4.neg", op("f32x4.abs", get(x))));
  return op(
    "f32x4.add",
    op("f32x4.pmax", get(x), f.constant(splatF32(0))),
    logOnePlus(f, small),
  );
}

/** Returns a vector whose lanes are the sums of the lanes of each of four vectors. */
export function sumsOf(f: FunctionBuilder, [a, b, c, d]: readonly Local[]): Code {
  const first = f.local("v128"), second = f.local("v128");
  const pairs = (x: Local, y: Local) =>
    op(
      "f32x4.add",
      shuffle32(get(x), get(y), [0, 4, 1, 5]),
      shuffle32(get(x), get(y), [2, 6, 3, 7]),
    );
  return [
    ...set(first, pairs(a!, b!)),
    ...set(second, pairs(c!, d!)),
    ...op(
      "f32x4.add",
      shuffle32(get(first), get(second), [0, 1, 4, 5]),
      shuffle32(get(first), get(second), [2, 3, 6, 7]),
    ),
  ];
}
