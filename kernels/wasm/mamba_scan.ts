/**
 * Mamba-2 (MambaSpec of engine/model/config.ts): for each token of a sequence, the state of each
 * head is updated and then read.
 */

import {
  type Code,
  get,
  i32,
  lane,
  load,
  type ModuleBuilder,
  op,
  set,
  splatF32,
  store,
} from "./assembler.ts";
import { exponential, whileCount } from "./math.ts";
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
 * `inputs` are values, keys and queries; `skips` [valueHeads]. For the other fields see states.ts.
 */
export const MAMBA_SCAN = fields(STATE_INTEGERS, [...STATE_ADDRESSES, "skips"]);

/** Adds the kernel for heads whose queries and keys have `keyDim` dimensions. */
export function addMambaScan(module: ModuleBuilder, keyDim: number): number {
  return addStateKernel(
    module,
    { fields: MAMBA_SCAN, keyDim },
    (f, { operation, head, at, state }) => {
      const read = (name: keyof typeof MAMBA_SCAN) => field(module, operation, MAMBA_SCAN[name]);
      const { address } = module;
      const query = f.local(address), key = f.local(address), value = f.local(address);
      const out = f.local(address), q = f.local(address), k = f.local(address);
      const step = f.local("v128"), keep = f.local("v128"), skip = f.local("v128");
      const values = f.local("v128"), keys = f.local("v128"), queries = f.local("v128");
      const changed = f.local("v128"), columns = f.local("i32"), keyHead = f.local("i32");
      const sums = f.locals("v128", ROWS), changes = f.locals("v128", ROWS);
      const row = (name: "inputs" | "steps" | "out") =>
        module.at(read(name), get(at), module.addressConst(1));
      const moved = (base: Code, heads: Code) =>
        module.at(base, op("i32.mul", heads, read("valueDim")), module.addressConst(4));
      const rowBytes = 4 * keyDim;
      return {
        head: [
          ...set(
            keyHead,
            op("i32.div_u", op("i32.mul", get(head), read("keyHeads")), read("valueHeads")),
          ),
          ...set(skip, ofHead(module, head, read("skips"))),
        ],
        token: [
          ...set(value, moved(row("inputs"), get(head))),
          ...set(
            key,
            module.at(
              moved(row("inputs"), read("valueHeads")),
              get(keyHead),
              module.addressConst(rowBytes),
            ),
          ),
          ...set(query, module.at(get(key), read("keyHeads"), module.addressConst(rowBytes))),
          ...set(out, moved(row("out"), get(head))),
          ...set(step, ofHead(module, head, row("steps"))),
          ...set(step, softplus(f, step)),
          ...set(
            keep,
            exponential(f, op("f32x4.mul", ofHead(module, head, read("decays")), get(step))),
          ),
        ],
        rows: [
          ...set(values, load("v128.load", get(value))),
          ...set(changed, op("f32x4.mul", get(values), get(step))),
          ...changes.flatMap((local, i) =>
            set(local, op("f32x4.splat", lane("f32x4.extract_lane", get(changed), i)))
          ),
          ...sums.flatMap((sum) => set(sum, splatF32(0))),
          ...set(q, get(query)),
          ...set(k, get(key)),
          ...set(columns, i32(keyDim)),
          ...whileCount(columns, 4, [
            ...set(keys, load("v128.load", get(k))),
            ...set(queries, load("v128.load", get(q))),
            ...sums.flatMap((sum, i) => [
              ...set(
                changed,
                op(
                  "f32x4.add",
                  op("f32x4.mul", load("v128.load", get(state), i * rowBytes), get(keep)),
                  op("f32x4.mul", get(changes[i]!), get(keys)),
                ),
              ),
              ...store("v128.store", get(state), i * rowBytes, get(changed)),
              ...set(
                sum,
                op("f32x4.add", get(sum), op("f32x4.mul", get(changed), get(queries))),
              ),
            ]),
            ...advance(module, [q, k, state]),
          ]),
          ...store(
            "v128.store",
            get(out),
            0,
            op("f32x4.add", sumsOf(f, sums), op("f32x4.mul", get(skip), get(values))),
          ),
          ...advance(module, [value, out]),
          ...set(state, module.plus(get(state), module.addressConst((ROWS - 1) * rowBytes))),
        ],
      };
    },
  );
}
