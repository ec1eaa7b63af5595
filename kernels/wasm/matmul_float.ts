/** Products of a matrix of floats and float32 activations; see matmul.ts. */

import {
  brIf,
  type Code,
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
} from "./assembler.ts";
import { columnBytes, type FloatFormat, PANELS } from "./formats.ts";
import { loadHalves, multiplyAdd } from "./math.ts";
import { addMatmulKernel, MATMUL, storeResult, stripFactors } from "./matmul.ts";
import { field } from "./operation.ts";
import { type ProductForm } from "./products.ts";

/** Columns per iteration. Even and odd ones are summed separately, to wait less for each sum. */
const COLUMNS = 4;

/** Adds the kernel of one format. */
export function addFloatMatmul(
  module: ModuleBuilder,
  format: FloatFormat,
  form: ProductForm,
): number {
  const tile = (tokens: number) => addFloatTile(module, { format, form, tokens });
  return addMatmulKernel(module, { one: tile(1), two: tile(2) });
}

/**
 * Loads a column of a panel at `offset` as float32; float16 values lack their factor (see
 * `loadHalves`).
 */
function loadColumn(
  f: FunctionBuilder,
  { quants, at }: { readonly quants: FloatFormat["quants"]; readonly at: Local },
  offset: number,
): Code {
  const address = get(at);
  switch (quants) {
    case "f32":
      return load("v128.load", address, offset);
    case "f16":
      return loadHalves(f, address, offset);
    case "bf16":
      return op("i32x4.shl", load("v128.load16x4_u", address, offset), i32(16));
  }
}

function addFloatTile(
  module: ModuleBuilder,
  { format, form, tokens }: {
    readonly format: FloatFormat;
    readonly form: ProductForm;
    readonly tokens: number;
  },
): number {
  const { address } = module;
  const params = Array.from({ length: 5 + 2 * tokens }, () => address);
  return module.add(params, [], (f, [operation, weights, bias, _offsets, _ahead, ...rows]) => {
    const x = rows.slice(0, tokens), y = rows.slice(tokens);
    const read = (name: keyof typeof MATMUL) => field(module, operation!, MATMUL[name]);
    const sums = Array.from(
      { length: PANELS },
      () => Array.from({ length: tokens }, () => f.locals("v128", 2)),
    );
    const at = f.local(address), values = f.locals("v128", tokens);
    const { quants } = format, bytes = columnBytes(format);
    const count = f.local("i32"), column = f.local("v128"), factor = f.local("v128");
    const move = (pointer: Local, bytes: number) =>
      set(pointer, module.plus(get(pointer), module.addressConst(bytes)));
    return [
      ...set(at, get(weights!)),
      ...sums.flat(2).flatMap((sum) => set(sum, splatF32(0))),
      ...set(count, op("i32.div_u", read("columns"), i32(COLUMNS))),
      ...loop(
        ...x.map((row, t) => set(values[t]!, load("v128.load", get(row)))),
        ...Array.from({ length: COLUMNS }, (_, c) =>
          sums.flatMap((ofPanel, p) => [
            ...set(column, loadColumn(f, { quants, at }, bytes * c + bytes / PANELS * p)),
            ...x.flatMap((_, t) => {
              const sum = ofPanel[t]![c % 2]!;
              const value = shuffle32(get(values[t]!), get(values[t]!), [c, c, c, c]);
              return set(sum, multiplyAdd(form, get(column), value, get(sum)));
            }),
          ])),
        move(at, columnBytes(format) * COLUMNS),
        ...x.map((row) => move(row, 4 * COLUMNS)),
        set(count, op("i32.sub", get(count), i32(1))),
        brIf(0, get(count)),
      ),
      ...sums.flatMap((ofPanel, panel) => [
        ...set(
          factor,
          load("v128.load", stripFactors(module, operation!, weights!), 16 * panel),
        ),
        ...ofPanel.flatMap(([even, odd], t) => [
          ...set(even!, op("f32x4.mul", op("f32x4.add", get(even!), get(odd!)), get(factor))),
          ...storeResult(module, operation!, { bias: bias!, y: y[t]!, value: even!, panel }),
        ]),
      ]),
    ];
  });
}
