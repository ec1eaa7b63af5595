/**
 * The gated delta rule (DeltaNetSpec of engine/model/config.ts): for each token of a sequence, the
 * state of each head is updated and then read.
 */

import {
  call,
  type Code,
  f32,
  type FunctionBuilder,
  get,
  i32,
  lane,
  load,
  type Local,
  type ModuleBuilder,
  op,
  set,
  splatF32,
  store,
  when,
} from "./assembler.ts";
import { addRootMean, exponential, sigmoidTimes, whileCount } from "./math.ts";
import { field, fields } from "./operation.ts";
import { advance } from "./prepare.ts";
import {
  addStateKernel,
  ofHead,
  ROWS,
  softplus,
  STATE_ADDRESSES,
  STATE_INTEGERS,
  sumsOf,
} from "./states.ts";

/**
 * `inputs` are queries, keys and values; `strengths` [tokens, valueHeads]. `tiled`: value head h
 * uses key head h mod `keyHeads`. For the other fields see states.ts.
 */
export const DELTA_RULE = fields(
  [...STATE_INTEGERS, "tiled"],
  [...STATE_ADDRESSES, "strengths"],
);

/**
 * Added to the sum of squares of a query or key before the vector is divided by its square root.
 */
const EPSILON = 1e-6;

/** Locals of a token: five addresses, and four numbers, each in all lanes of a vector. */
interface TokenLocals {
  readonly query: Local;
  readonly key: Local;
  readonly value: Local;
  readonly out: Local;
  readonly state: Local;
  readonly keep: Local;
  readonly strength: Local;
  readonly queryScale: Local;
  readonly keyScale: Local;
}

/** Adds the kernel for heads whose queries and keys have `keyDim` dimensions. */
export function addDeltaRule(module: ModuleBuilder, keyDim: number): number {
  const rootMean = addRootMean(module);
  return addStateKernel(module, { fields: DELTA_RULE, keyDim }, (f, unit) => {
    const { operation, head, at, state } = unit;
    const read = (name: keyof typeof DELTA_RULE) => field(module, operation, DELTA_RULE[name]);
    const keyHead = f.local("i32"), x = f.local("v128");
    const [keep, strength, queryScale, keyScale] = f.locals("v128", 4);
    const [query, key, value, out] = f.locals(module.address, 4);
    const token: TokenLocals = {
      query: query!,
      key: key!,
      value: value!,
      out: out!,
      state,
      keep: keep!,
      strength: strength!,
      queryScale: queryScale!,
      keyScale: keyScale!,
    };
    const row = (name: "inputs" | "steps" | "strengths" | "out") =>
      module.at(read(name), get(at), module.addressConst(1));
    const splat = (base: Code) => ofHead(module, head, base);
    const scale = (vector: Local, factor: number) => {
      const root = call(rootMean, get(vector), i32(keyDim), f32(EPSILON / keyDim));
      return op("f32x4.splat", op("f32.mul", root, f32(factor)));
    };
    const heads = (count: Code, width: Code) => op("i32.mul", op("i32.mul", count, width), i32(4));
    const enterToken: Code = [
      ...set(token.query, module.at(row("inputs"), get(keyHead), module.addressConst(4 * keyDim))),
      ...set(
        token.key,
        module.at(get(token.query), read("keyHeads"), module.addressConst(4 * keyDim)),
      ),
      ...set(
        token.value,
        module.at(
          module.at(row("inputs"), read("keyHeads"), module.addressConst(8 * keyDim)),
          heads(get(head), read("valueDim")),
          module.addressConst(1),
        ),
      ),
      ...set(
        token.out,
        module.at(row("out"), heads(get(head), read("valueDim")), module.addressConst(1)),
      ),
      // A query is also divided by √keyDim.
      ...set(token.queryScale, scale(token.query, 1 / keyDim)),
      ...set(token.keyScale, scale(token.key, 1 / Math.sqrt(keyDim))),
      ...set(x, splat(row("steps"))),
      ...set(
        token.keep,
        exponential(f, op("f32x4.mul", splat(read("decays")), softplus(f, x))),
      ),
      ...set(x, splat(row("strengths"))),
      ...set(token.strength, sigmoidTimes(f, x, f.constant(splatF32(1)))),
    ];
    return {
      head: when(
        read("tiled"),
        set(keyHead, op("i32.rem_u", get(head), read("keyHeads"))),
        set(
          keyHead,
          op("i32.div_u", op("i32.mul", get(head), read("keyHeads")), read("valueHeads")),
        ),
      ),
      token: enterToken,
      rows: changeRows(module, f, { keyDim, token }),
    };
  });
}

/** Updates the next rows of the state with a token, and reads them. */
function changeRows(
  module: ModuleBuilder,
  f: FunctionBuilder,
  { keyDim, token }: { readonly keyDim: number; readonly token: TokenLocals },
): Code {
  const { state, value, out, keep, strength, queryScale, keyScale } = token;
  const q = f.local(module.address), k = f.local(module.address), columns = f.local("i32");
  const keys = f.local("v128"), queries = f.local("v128"), change = f.local("v128");
  const changed = f.local("v128");
  const sums = f.locals("v128", ROWS), changes = f.locals("v128", ROWS);
  const rowBytes = 4 * keyDim;
  const kept = (row: number) =>
    op("f32x4.mul", load("v128.load", get(state), row * rowBytes), get(keep));
  const add = (sum: Local, a: Code, b: Code) =>
    set(sum, op("f32x4.add", get(sum), op("f32x4.mul", a, b)));
  const eachColumn = (body: Code): Code => [
    ...sums.flatMap((sum) => set(sum, splatF32(0))),
    ...set(q, get(token.query)),
    ...set(k, get(token.key)),
    ...set(columns, i32(keyDim)),
    ...whileCount(columns, 4, [body, ...advance(module, [q, k, state])]),
    ...set(state, module.plus(get(state), module.addressConst(-rowBytes))),
  ];
  return [
    ...eachColumn([
      ...set(keys, load("v128.load", get(k))),
      ...sums.flatMap((sum, row) => add(sum, kept(row), get(keys))),
    ]),
    ...set(
      change,
      op(
        "f32x4.mul",
        op(
          "f32x4.sub",
          load("v128.load", get(value)),
          op("f32x4.mul", sumsOf(f, sums), get(keyScale)),
        ),
        op("f32x4.mul", get(strength), get(keyScale)),
      ),
    ),
    ...changes.flatMap((local, row) =>
      set(local, op("f32x4.splat", lane("f32x4.extract_lane", get(change), row)))
    ),
    ...eachColumn([
      ...set(keys, load("v128.load", get(k))),
      ...set(queries, load("v128.load", get(q))),
      ...sums.flatMap((sum, row) => [
        ...set(
          changed,
          op("f32x4.add", kept(row), op("f32x4.mul", get(changes[row]!), get(keys))),
        ),
        ...store("v128.store", get(state), row * rowBytes, get(changed)),
        ...add(sum, get(changed), get(queries)),
      ]),
    ]),
    ...store("v128.store", get(out), 0, op("f32x4.mul", sumsOf(f, sums), get(queryScale))),
    ...advance(module, [value, out]),
    ...set(state, module.plus(get(state), module.addressConst(ROWS * rowBytes))),
  ];
}
