/**
 * The kernels that run before and after the recurrence of gated delta nets (delta_rule.ts) and of
 * Mamba (mamba_scan.ts): the convolution of queries, keys and values, and the norm of the heads'
 * outputs.
 */

import {
  call,
  type Code,
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
import { addRootMean, sigmoidTimes, whileCount } from "./math.ts";
import { addKernel, field, fields } from "./operation.ts";
import { addPrepare, advance, OUTPUT_ADDRESSES, OUTPUT_INTEGERS } from "./prepare.ts";

/**
 * The record of each sequence of a step: the index of its first token, the number of its tokens,
 * its slot, and whether its state is still empty, in which case the content of the slot is ignored.
 */
export const SEQUENCE = { first: 0, count: 4, slot: 8, fresh: 12, bytes: 16 } as const;

/** Channels per unit of the convolution. */
export const CONVOLUTION_CHANNELS = 64;

/**
 * A unit is CONVOLUTION_CHANNELS channels of a sequence. `inputs` [tokens, channels] is changed in
 * place; `weights` [taps, channels]; `bias` [channels] or null;
 * `states` [slots, taps − 1, channels]. `blocks`: units per sequence. Strides are in bytes, between
 * tokens and between slots.
 */
export const CONVOLUTION = fields(
  ["channels", "blocks", "stride", "stateStride"],
  ["inputs", "weights", "bias", "states", "sequences"],
);

/**
 * Delta nets: RMSNorm of each head, multiplied by `weight` [headDim] and silu(`gate`). Mamba: the
 * values are multiplied by silu(`gate`); then RMSNorm of each of `heads` groups, multiplied by
 * `weight` [heads, headDim]. For the other fields see prepare.ts.
 */
export const DELTA_NORM = fields(
  [...OUTPUT_INTEGERS, "heads", "headDim", "fromStride"],
  [...OUTPUT_ADDRESSES, "from", "gate", "weight"],
  ["epsilon"],
);

/** Advances an address by `bytes` bytes. */
function move(module: ModuleBuilder, local: Local, bytes: Code): Code {
  return set(local, module.at(get(local), bytes, module.addressConst(1)));
}

/** Adds the kernel of the convolution over `taps` tokens. */
export function addConvolution(module: ModuleBuilder, taps: number): number {
  return addKernel(module, (f, [operation, from, to]) => {
    const read = (name: keyof typeof CONVOLUTION) => field(module, operation!, CONVOLUTION[name]);
    const { address } = module;
    const sequence = f.local(address), channel = f.local("i32"), end = f.local("i32");
    const x = f.local(address), weight = f.local(address), state = f.local(address);
    const left = f.local("i32"), value = f.local("v128"), sum = f.local("v128");
    const rowBytes = f.local("i32"), bias = f.local("v128");
    const weights = f.locals("v128", taps), past = f.locals("v128", taps - 1);
    const own = (name: keyof typeof SEQUENCE) => load("i32.load", get(sequence), SEQUENCE[name]);
    const eachRow = (at: Local, locals: readonly Local[], row: (local: Local) => Code) =>
      locals.flatMap((local) => [...row(local), ...move(module, at, get(rowBytes))]);
    const stateAt = set(
      state,
      module.at(
        module.at(read("states"), own("slot"), module.extend(read("stateStride"))),
        get(channel),
        module.addressConst(4),
      ),
    );
    return [
      ...set(rowBytes, op("i32.mul", read("channels"), i32(4))),
      ...whileLoop(
        op("i32.lt_u", get(from!), get(to!)),
        set(
          sequence,
          module.at(
            read("sequences"),
            op("i32.div_u", get(from!), read("blocks")),
            module.addressConst(SEQUENCE.bytes),
          ),
        ),
        set(
          channel,
          op(
            "i32.mul",
            op("i32.rem_u", get(from!), read("blocks")),
            i32(CONVOLUTION_CHANNELS),
          ),
        ),
        set(end, op("i32.add", get(channel), i32(CONVOLUTION_CHANNELS))),
        when(op("i32.lt_u", read("channels"), get(end)), set(end, read("channels"))),
        whileLoop(
          op("i32.lt_u", get(channel), get(end)),
          set(weight, module.at(read("weights"), get(channel), module.addressConst(4))),
          eachRow(weight, weights, (local) => set(local, load("v128.load", get(weight)))),
          when(
            module.notNull(read("bias")),
            set(
              bias,
              load("v128.load", module.at(read("bias"), get(channel), module.addressConst(4))),
            ),
            set(bias, splatF32(0)),
          ),
          stateAt,
          when(
            own("fresh"),
            past.flatMap((local) => set(local, splatF32(0))),
            eachRow(state, past, (local) => set(local, load("v128.load", get(state)))),
          ),
          set(
            x,
            module.at(
              module.at(read("inputs"), own("first"), module.extend(read("stride"))),
              get(channel),
              module.addressConst(4),
            ),
          ),
          set(left, own("count")),
          whileCount(left, 1, [
            ...set(value, load("v128.load", get(x))),
            ...set(
              sum,
              [...past, value]
                .map((local, tap) => op("f32x4.mul", get(local), get(weights[tap]!)))
                .reduce((a, b) => op("f32x4.add", a, b), get(bias)),
            ),
            ...past.flatMap((local, tap) => set(local, get(past[tap + 1] ?? value))),
            ...store("v128.store", get(x), 0, sigmoidTimes(f, sum, get(sum))),
            ...move(module, x, read("stride")),
          ]),
          stateAt,
          eachRow(state, past, (local) => store("v128.store", get(state), 0, get(local))),
          set(channel, op("i32.add", get(channel), i32(4))),
        ),
        set(from!, op("i32.add", get(from!), i32(1))),
      ),
    ];
  });
}

/** Adds the kernel of the norm of the heads' outputs, for delta nets or for Mamba. */
export function addDeltaNorm(module: ModuleBuilder, kind: "delta-net" | "mamba"): number {
  const rootMean = addRootMean(module);
  return addPrepare(module, DELTA_NORM, (f, [operation, token, row, padded]) => {
    const read = (name: keyof typeof DELTA_NORM) => field(module, operation, DELTA_NORM[name]);
    const { address } = module;
    const x = f.local(address), gate = f.local(address), weight = f.local(address);
    const out = f.local(address), z = f.local("v128"), scale = f.local("v128");
    const heads = f.local("i32"), count = f.local("i32"), start = f.local(address);
    const at = (base: "from" | "gate") =>
      module.at(read(base), get(token), module.extend(read("fromStride")));
    const normalize = (from: Local) =>
      set(
        scale,
        op("f32x4.splat", call(rootMean, get(from), read("headDim"), read("epsilon"))),
      );
    const normalized = (from: Local) =>
      op(
        "f32x4.mul",
        op("f32x4.mul", load("v128.load", get(from)), get(scale)),
        load("v128.load", get(weight)),
      );
    /**
     * Writes `value` to `out` for all columns of a head. If `value` uses the gate, it reads it from
     * `z`.
     */
    const columns = (value: Code, addresses: readonly Local[]): Code => [
      ...set(count, read("headDim")),
      ...whileCount(count, 4, [
        ...(addresses.includes(gate) ? set(z, load("v128.load", get(gate))) : []),
        ...store("v128.store", get(out), 0, value),
        ...advance(module, addresses),
      ]),
    ];
    const head: Code = kind === "delta-net"
      ? [
        ...normalize(x),
        ...set(weight, read("weight")),
        ...columns(
          op("f32x4.mul", normalized(x), sigmoidTimes(f, z, get(z))),
          [x, gate, weight, out],
        ),
      ]
      : [
        ...set(start, get(out)),
        ...columns(
          op("f32x4.mul", load("v128.load", get(x)), sigmoidTimes(f, z, get(z))),
          [x, gate, out],
        ),
        ...normalize(start),
        ...set(out, get(start)),
        ...columns(normalized(out), [weight, out]),
      ];
    return [
      ...set(x, at("from")),
      ...set(gate, at("gate")),
      ...set(weight, read("weight")),
      ...set(out, get(row)),
      ...set(heads, read("heads")),
      ...whileCount(heads, 1, head),
      ...set(count, op("i32.sub", get(padded), read("columns"))),
      ...whileCount(count, 4, [
        ...store("v128.store", get(out), 0, splatF32(0)),
        ...advance(module, [out]),
      ]),
    ];
  });
}
