/**
 * The gated delta rule (DeltaNetSpec of engine/model/config.ts): each token of a sequence changes the
 * state of each head, and reads it.
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
  shuffle32,
  splatF32,
  store,
  when,
  whileLoop,
} from "./assembler.ts";
import { SEQUENCE } from "./delta_net.ts";
import { addRootMean, exponential, logOnePlus, sigmoidTimes, whileCount } from "./math.ts";
import { addKernel, field, fields } from "./operation.ts";
import { advance } from "./prepare.ts";

/**
 * A unit is a head of the values of a sequence. `inputs` [tokens, queries + keys + values]; `steps`,
 * `strengths` [tokens, valueHeads] and `out` [tokens, values] are at the same stride, in bytes.
 * `decays` [valueHeads]; `states` [slots, valueHeads, valueDim, keyDim], a slot every `stateStride`
 * bytes.
 */
export const DELTA_RULE = fields(
  ["keyHeads", "valueHeads", "valueDim", "tiled", "stride", "stateStride"],
  ["inputs", "steps", "strengths", "decays", "out", "states", "sequences"],
);

/** Added to the sum of squares of a query or key before it is divided by its root. */
const EPSILON = 1e-6;
/** Rows of a state that are changed together. */
const ROWS = 4;

/** What a token of a unit works with: five addresses, and four numbers, each in all lanes. */
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

/** Adds the kernel for heads of `keyDim` queries and keys. */
export function addDeltaRule(module: ModuleBuilder, keyDim: number): number {
  const rootMean = addRootMean(module);
  return addKernel(module, (f, [operation, from, to]) => {
    const read = (name: keyof typeof DELTA_RULE) => field(module, operation!, DELTA_RULE[name]);
    const { address } = module;
    const sequence = f.local(address), head = f.local("i32"), keyHead = f.local("i32");
    const at = f.local("i32"), left = f.local("i32"), count = f.local("i32");
    const first = f.local(address), x = f.local("v128");
    const [keep, strength, queryScale, keyScale] = f.locals("v128", 4);
    const [query, key, value, out, state] = f.locals(address, 5);
    const token: TokenLocals = {
      query: query!,
      key: key!,
      value: value!,
      out: out!,
      state: state!,
      keep: keep!,
      strength: strength!,
      queryScale: queryScale!,
      keyScale: keyScale!,
    };
    const own = (name: keyof typeof SEQUENCE) => load("i32.load", get(sequence), SEQUENCE[name]);
    const row = (name: "inputs" | "steps" | "strengths" | "out") =>
      module.at(read(name), get(at), module.addressConst(1));
    const ofHead = (base: Code) =>
      load("v128.load32_splat", module.at(base, get(head), module.addressConst(4)));
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
      // A query is divided by the root of the dimensions, too.
      ...set(token.queryScale, scale(token.query, 1 / keyDim)),
      ...set(token.keyScale, scale(token.key, 1 / Math.sqrt(keyDim))),
      ...set(x, ofHead(row("steps"))),
      ...set(
        token.keep,
        exponential(f, op("f32x4.mul", ofHead(read("decays")), softplus(f, x))),
      ),
      ...set(x, ofHead(row("strengths"))),
      ...set(token.strength, sigmoidTimes(f, x, f.constant(splatF32(1)))),
      ...set(token.state, get(first)),
    ];
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
      when(
        read("tiled"),
        set(keyHead, op("i32.rem_u", get(head), read("keyHeads"))),
        set(
          keyHead,
          op("i32.div_u", op("i32.mul", get(head), read("keyHeads")), read("valueHeads")),
        ),
      ),
      set(
        first,
        module.at(
          module.at(read("states"), own("slot"), module.extend(read("stateStride"))),
          op("i32.mul", get(head), read("valueDim")),
          module.addressConst(4 * keyDim),
        ),
      ),
      when(own("fresh"), [
        ...set(token.state, get(first)),
        ...set(count, op("i32.mul", read("valueDim"), i32(keyDim))),
        ...whileCount(count, 4, [
          ...store("v128.store", get(token.state), 0, splatF32(0)),
          ...advance(module, [token.state]),
        ]),
      ]),
      set(at, op("i32.mul", own("first"), read("stride"))),
      set(left, own("count")),
      whileCount(left, 1, [
        ...enterToken,
        ...set(count, read("valueDim")),
        ...whileCount(count, ROWS, changeRows(module, f, { keyDim, token })),
        ...set(at, op("i32.add", get(at), read("stride"))),
      ]),
      set(from!, op("i32.add", get(from!), i32(1))),
    );
  });
}

/** Changes the next rows of the state by a token, and reads them. */
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

/** ln(1 + e^x). */
function softplus(f: FunctionBuilder, x: Local): Code {
  const small = exponential(f, op("f32x4.neg", op("f32x4.abs", get(x))));
  return op(
    "f32x4.add",
    op("f32x4.pmax", get(x), f.constant(splatF32(0))),
    logOnePlus(f, small),
  );
}

/** The sums of the lanes of four vectors, in the lanes of one. */
function sumsOf(f: FunctionBuilder, [a, b, c, d]: readonly Local[]): Code {
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
