/** Products of a matrix of floats and float32 activations; see matmul.ts. */

import {
  brIf,
  type Code,
  get,
  i32,
  load,
  type Local,
  loop,
  ModuleBuilder,
  op,
  set,
  splatF32,
} from "./assembler.ts";
import { columnBytes, type FloatFormat, PANELS } from "./formats.ts";
import { loadHalves, multiplyAdd } from "./math.ts";
import { addMatmulKernel, MATMUL, storeResult, stripFactors } from "./matmul.ts";
import { field } from "./operation.ts";
import { type ProductForm } from "./products.ts";

/** Columns of an iteration of the loop; even and odd ones are summed apart, to wait less for each sum. */
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

/** Column `column` of a panel as float32, but for the factor of halves. */
function loadColumn(
  format: FloatFormat,
  address: Code,
  { column, panel }: { readonly column: number; readonly panel: number },
): Code {
  const bytes = columnBytes(format);
  const at = bytes * column + bytes / PANELS * panel;
  switch (format.quants) {
    case "f32":
      return load("v128.load", address, at);
    case "f16":
      return loadHalves(address, at);
    case "bf16":
      return op("i32x4.shl", load("v128.load16x4_u", address, at), i32(16));
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
  const params = Array.from({ length: 3 + 2 * tokens }, () => address);
  return module.add(params, [], (f, [operation, weights, bias, ...rows]) => {
    const x = rows.slice(0, tokens), y = rows.slice(tokens);
    const read = (name: keyof typeof MATMUL) => field(module, operation!, MATMUL[name]);
    const sums = Array.from(
      { length: PANELS },
      () => Array.from({ length: tokens }, () => f.locals("v128", 2)),
    );
    const at = f.local(address);
    const count = f.local("i32"), column = f.local("v128"), factor = f.local("v128");
    const move = (pointer: Local, bytes: number) =>
      set(pointer, module.plus(get(pointer), module.addressConst(bytes)));
    return [
      ...set(at, get(weights!)),
      ...sums.flat(2).flatMap((sum) => set(sum, splatF32(0))),
      ...set(count, op("i32.div_u", read("columns"), i32(COLUMNS))),
      ...loop(
        ...Array.from({ length: COLUMNS }, (_, c) =>
          sums.flatMap((ofPanel, p) => [
            ...set(column, loadColumn(format, get(at), { column: c, panel: p })),
            ...x.flatMap((row, t) => {
              const sum = ofPanel[t]![c % 2]!;
              const value = load("v128.load32_splat", get(row), 4 * c);
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
