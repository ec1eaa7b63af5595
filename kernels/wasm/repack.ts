/** Packs rows in the layout of model files into strips (formats.ts). */

import { GROUP_LAYOUT, type TensorType } from "../tensor_types.ts";
import {
  call,
  type Code,
  FunctionBuilder,
  get,
  i32,
  load,
  type Local,
  ModuleBuilder,
  op,
  set,
  shuffle32,
  splatF32,
  store,
  whileLoop,
} from "./assembler.ts";
import { FILE_GROUPS } from "./file_groups.ts";
import {
  type IntegerFormat,
  isFloat,
  minimumAt,
  PANEL_ROWS,
  PANELS,
  quantBytes,
  quantColumnBytes,
  scaleAt,
  scalesBytes,
  SPAN_COLUMNS,
  STRIP_ROWS,
  SUPER_SPANS,
  superBytes,
  WASM_FORMATS,
  type WasmFormat,
} from "./formats.ts";
import { whileCount } from "./math.ts";
import { addNormalize, addNormalizeRow } from "./normalize.ts";
import { addKernel, field, fields } from "./operation.ts";
import { packFloats } from "./repack_floats.ts";

/** A unit is a strip. `columns`: as in the file. The rows that pad a strip must be zeros. */
export const REPACK = fields(["columns", "rowBytes", "stripBytes", "factors"], ["from", "to"]);

type Read = (name: keyof typeof REPACK) => Code;

/** Adds the kernel that packs rows of one tensor type. */
export function addRepack(module: ModuleBuilder, type: TensorType): number {
  const format = WASM_FORMATS[type];
  const isHalf = isFloat(format) && format.quants === "f16";
  const normalize = isHalf ? addNormalizeRow(module) : addNormalize(module);
  return addKernel(module, (f, [operation, from, to]) => {
    const exponents = f.local("v128");
    const rows = f.locals(module.address, STRIP_ROWS);
    const out = f.local(module.address), factors = f.local("v128");
    const read: Read = (name) => field(module, operation!, REPACK[name]);
    const pack = isFloat(format)
      ? packFloats(module, f, { rows, out, format, columns: read("columns"), exponents })
      : packIntegers(module, f, { type, format, read, rows, out });
    return whileLoop(
      op("i32.lt_u", get(from!), get(to!)),
      set(out, module.at(read("to"), get(from!), module.extend(read("stripBytes")))),
      ...rows.map((row, i) =>
        set(
          row,
          module.at(
            read("from"),
            op("i32.add", op("i32.mul", get(from!), i32(STRIP_ROWS)), i32(i)),
            module.extend(read("rowBytes")),
          ),
        )
      ),
      pack,
      set(
        factors,
        normalized(module, { format, normalize, out, columns: read("columns"), exponents }),
      ),
      ...[0, 16].map((at) =>
        store(
          "v128.store",
          module.plus(get(out), module.extend(read("factors"))),
          at,
          get(factors),
        )
      ),
      set(from!, op("i32.add", get(from!), i32(1))),
    );
  });
}

/**
 * Normalizes the float16 values of a strip, if it has any, and returns the factors of four rows.
 */
function normalized(
  module: ModuleBuilder,
  { format, normalize, out, columns, exponents }: {
    readonly format: WasmFormat;
    readonly normalize: number;
    readonly out: Local;
    readonly columns: Code;
    /** The largest exponents, for a strip of float16. */
    readonly exponents: Local;
  },
): Code {
  if (isFloat(format)) {
    // One column of a strip is eight float16 values.
    return format.quants === "f16"
      ? call(normalize, get(out), columns, get(exponents))
      : splatF32(1);
  }
  const halves = (start: Code, count: Code, [stride, vectors]: readonly [number, number]) =>
    call(normalize, start, count, module.addressConst(stride), i32(vectors));
  if (format.scales === "exponent") return splatF32(1);
  const vectors = PANELS * (format.minima ? 2 : 1);
  const scales = scalesOf(module, format, { strip: out, columns });
  const before = format.scales === "half" ? 0 : SUPER_SPANS * scalesBytes(format);
  const columnsEach = format.scales === "half" ? SPAN_COLUMNS : SPAN_COLUMNS * SUPER_SPANS;
  return halves(
    module.plus(scales, module.addressConst(before)),
    op("i32.div_u", columns, i32(columnsEach)),
    [format.scales === "half" ? scalesBytes(format) : before + superBytes(format), vectors],
  );
}

/** Returns the address of a strip's scales. */
function scalesOf(
  module: ModuleBuilder,
  format: IntegerFormat,
  { strip, columns }: { readonly strip: Local; readonly columns: Code },
): Code {
  return module.at(
    get(strip),
    columns,
    module.addressConst(PANELS * quantColumnBytes(format)),
  );
}

function packIntegers(
  module: ModuleBuilder,
  f: FunctionBuilder,
  { type, format, read, rows, out }: {
    readonly type: TensorType;
    readonly format: IntegerFormat;
    readonly read: Read;
    readonly rows: readonly Local[];
    readonly out: Local;
  },
): Code {
  const { weights, bytes } = GROUP_LAYOUT[type];
  const source = FILE_GROUPS[type]!;
  const at = f.locals(module.address, PANELS), scalesAt = f.local(module.address);
  const count = f.local("i32");
  const low = f.locals("v128", PANEL_ROWS), high = f.locals("v128", PANEL_ROWS);
  const move = (pointer: Local, by: number) =>
    set(pointer, module.plus(get(pointer), module.addressConst(by)));
  const parts = weights / SPAN_COLUMNS;
  const groups = SPAN_COLUMNS / format.group;
  const copyHalf = (to: number, row: Local, from: number) =>
    store("i32.store16", get(scalesAt), to, load("i32.load16_u", get(row), from));

  const quants = (panel: number, part: number): Code => [
    ...low.flatMap((_, r) => {
      const row = get(rows[panel * PANEL_ROWS + r]!);
      const [first, second] = source.quants({ f, row }, part);
      return [...set(low[r]!, first), ...set(high[r]!, second)];
    }),
    ...interleave(format, { low, high }, { to: at[panel]!, at: part * quantBytes(format) }),
  ];
  const scales = (
    row: Local,
    i: number,
    { part, span }: { part: number; span: number },
  ): Code => {
    const panel = Math.floor(i / PANEL_ROWS), r = i % PANEL_ROWS;
    const scale = span + scaleAt(format, panel), minimum = span + minimumAt(format, panel);
    if (format.scales === "exponent") {
      const exponent = load("i32.load8_u", get(row), source.scaleAt);
      return store("i32.store8", get(scalesAt), scale + r, exponent);
    }
    if (format.scales === "half") {
      return [
        ...copyHalf(scale + 2 * r, row, source.scaleAt),
        ...(format.minima ? copyHalf(minimum + 2 * r, row, source.minimumAt!) : []),
      ];
    }
    return Array.from({ length: groups }, (_, g) => {
      const group = groups * part + g;
      const put = (to: number, value: Code) =>
        store("i32.store8", get(scalesAt), to + 4 * g + r, value);
      return [
        ...put(scale, source.scale!(get(row), group)),
        ...(format.minima ? put(minimum, source.minimum!(get(row), group)) : []),
      ];
    }).flat();
  };
  const common = (row: Local, i: number): Code => {
    const to = parts * scalesBytes(format) + 2 * i;
    return [
      ...copyHalf(to, row, source.scaleAt),
      ...(format.minima ? copyHalf(to + 2 * STRIP_ROWS, row, source.minimumAt!) : []),
    ];
  };
  const [first, second] = at as [Local, Local];
  const panelBytes = module.addressConst(quantColumnBytes(format));
  return [
    ...set(first, get(out)),
    ...set(second, module.at(get(out), read("columns"), panelBytes)),
    ...set(scalesAt, scalesOf(module, format, { strip: out, columns: read("columns") })),
    ...set(count, op("i32.div_u", read("columns"), i32(weights))),
    ...whileCount(count, 1, [
      ...Array.from({ length: parts }, (_, part) => [
        ...quants(0, part),
        ...quants(1, part),
        ...rows.flatMap((row, i) => scales(row, i, { part, span: scalesBytes(format) * part })),
      ]).flat(),
      ...(format.scales === "byte" ? rows.flatMap(common) : []),
      ...rows.flatMap((row) => move(row, bytes)),
      ...at.flatMap((panel) => move(panel, quantBytes(format) * parts)),
      ...move(scalesAt, scalesBytes(format) * parts + superBytes(format)),
    ]),
  ];
}

/** Writes the 32 quants of each of four rows. Lane r of each vector belongs to row r. */
function interleave(
  { quants }: IntegerFormat,
  { low, high }: { readonly low: readonly Local[]; readonly high: readonly Local[] },
  { to, at }: { readonly to: Local; readonly at: number },
): Code {
  // Lane j of each of four vectors, combined by pairs.
  const transposed = (v: readonly Code[], j: number): Code => {
    const pair = (a: Code, b: Code) => shuffle32(a, b, [j, j + 4, j, j + 4]);
    return shuffle32(pair(v[0]!, v[1]!), pair(v[2]!, v[3]!), [0, 1, 4, 5]);
  };
  if (quants === "nibble") {
    return [
      ...low.flatMap((v, r) => {
        const every = (lanes: readonly number[]) => shuffle32(get(v), get(high[r]!), lanes);
        const odd = op("i8x16.shl", every([1, 3, 5, 7]), i32(4));
        return set(v, op("v128.or", every([0, 2, 4, 6]), odd));
      }),
      ...[0, 1, 2, 3].flatMap((j) =>
        store("v128.store", get(to), at + 16 * j, transposed(low.map(get), j))
      ),
    ];
  }
  return [low, high].flatMap((vectors, half) =>
    [0, 1, 2, 3].flatMap((j) =>
      store("v128.store", get(to), at + 64 * half + 16 * j, transposed(vectors.map(get), j))
    )
  );
}
