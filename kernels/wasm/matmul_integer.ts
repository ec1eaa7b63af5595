/** Tiles of the products of a matrix of quants: one strip times one or two tokens. */

import { RECORD, RECORD_BYTES } from "./activations.ts";
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
  splatF32,
  splatI32,
  store,
  vector,
} from "./assembler.ts";
import {
  type IntegerFormat,
  minimumAt,
  PANELS,
  quantBytes,
  quantColumnBytes,
  scaleAt,
  scalesBytes,
  SPAN_COLUMNS,
  SUPER_SPANS,
  superBytes,
} from "./formats.ts";
import { LINE_BYTES } from "./fetch.ts";
import { loadHalves, multiplyAdd } from "./math.ts";
import { addMatmulKernel, MATMUL, OFFSET_BYTES, storeResult, stripFactors } from "./matmul.ts";
import { field } from "./operation.ts";
import { hasOffsets, type ProductForm, sumLocals, sums } from "./products.ts";

/** Adds the kernel for one format and one form of the dot product. */
export function addMatmul(
  module: ModuleBuilder,
  format: IntegerFormat,
  form: ProductForm,
): number {
  const tile = (tokens: number, offsets?: "read" | "write") =>
    addTile(module, { format, form, tokens, offsets });
  return addMatmulKernel(module, {
    one: tile(1),
    two: tile(2),
    ...(hasOffsets(format, form)
      ? { many: { write: tile(0, "write"), two: tile(2, "read") } }
      : {}),
  });
}

interface TileOptions {
  readonly format: IntegerFormat;
  readonly form: ProductForm;
  readonly tokens: number;
  /** Whether the tile reads the weights' offsets or, with no tokens, writes them. */
  readonly offsets: "read" | "write" | undefined;
}

/**
 * Adds a function (operation, weights, bias, offsets, ahead, x…, y…) that multiplies a strip by
 * `tokens` tokens. With two tokens, it also reads a cache line for each span, starting at `ahead`.
 */
function addTile(module: ModuleBuilder, options: TileOptions): number {
  const { tokens } = options;
  const { address } = module;
  const params = Array.from({ length: 5 + 2 * tokens }, () => address);
  return module.add(params, [], (f, [operation, weights, bias, offsets, ahead, ...rows]) => {
    return new TileWriter(module, f, {
      ...options,
      locals: {
        operation: operation!,
        weights: weights!,
        bias: bias!,
        offsets: offsets!,
        ahead: ahead!,
        x: rows.slice(0, tokens),
        y: rows.slice(tokens),
        panels: f.locals(address, PANELS),
        scales: f.local(address),
      },
    }).write();
  });
}

interface TileLocals {
  readonly operation: Local;
  readonly weights: Local;
  readonly bias: Local;
  readonly offsets: Local;
  readonly ahead: Local;
  readonly x: readonly Local[];
  readonly y: readonly Local[];
  /** Addresses of the current span: each panel's quants, and the scales. */
  readonly panels: readonly Local[];
  readonly scales: Local;
}

class TileWriter {
  readonly options: TileOptions;
  readonly locals: TileLocals;
  readonly #count: Local;
  readonly #inner: Local;
  /** The bitwise OR of what is read ahead, so that the loads are not eliminated. */
  readonly #reads: Local | undefined;
  /** [panels]: a vector of weights, as stored in memory and unpacked. */
  readonly #packed: readonly Local[];
  readonly #vectors: readonly Local[];
  /** [tokens]: the scale of the activations, and their sum. */
  readonly #xScales: readonly Local[];
  readonly #xSums: readonly Local[];
  readonly #scale: Local;
  readonly #minimum: Local;
  readonly #sums: ReturnType<typeof sumLocals>;
  /**
   * [panels][tokens]: the results, and the sums over 256 columns before their common scale is
   * applied.
   */
  readonly #totals: Local[][];
  readonly #supers: Local[][];
  readonly #superMinima: Local[][];

  constructor(
    readonly module: ModuleBuilder,
    readonly f: FunctionBuilder,
    { locals, ...options }: TileOptions & { readonly locals: TileLocals },
  ) {
    this.options = options;
    this.locals = locals;
    const { tokens, format } = options;
    const perPanel = (wanted: boolean) =>
      Array.from({ length: PANELS }, () => f.locals("v128", wanted ? tokens : 0));
    this.#count = f.local("i32");
    this.#inner = f.local("i32");
    if (tokens === 2) this.#reads = f.local("i32");
    this.#packed = f.locals("v128", PANELS);
    this.#vectors = f.locals("v128", PANELS);
    this.#xScales = f.locals("v128", tokens);
    this.#xSums = f.locals("v128", format.minima ? tokens : 0);
    this.#scale = f.local("v128");
    this.#minimum = f.local("v128");
    this.#sums = sumLocals(f, PANELS, tokens);
    this.#totals = perPanel(true);
    this.#supers = perPanel(format.scales === "byte");
    this.#superMinima = perPanel(format.scales === "byte" && format.minima);
  }

  write(): Code {
    const { module, locals, options: { format } } = this;
    const columns = field(module, locals.operation, MATMUL.columns);
    const body = format.scales !== "byte"
      ? [
        ...set(this.#count, op("i32.div_u", columns, i32(SPAN_COLUMNS))),
        ...this.#repeat(this.#count, this.#span()),
      ]
      : [
        ...set(this.#count, op("i32.div_u", columns, i32(SPAN_COLUMNS * SUPER_SPANS))),
        ...this.#repeat(this.#count, [
          ...[...this.#supers, ...this.#superMinima].flat().flatMap((v) => set(v, splatF32(0))),
          ...set(this.#inner, i32(SUPER_SPANS)),
          ...this.#repeat(this.#inner, this.#span()),
          ...this.#superblock(),
        ]),
      ];
    const panelBytes = module.at(
      module.addressConst(0),
      columns,
      module.addressConst(quantColumnBytes(format)),
    );
    const [first, second] = locals.panels as [Local, Local];
    return [
      ...set(first, get(locals.weights)),
      ...set(second, module.plus(get(first), panelBytes)),
      ...set(locals.scales, module.plus(get(second), panelBytes)),
      ...this.#totals.flat().flatMap((total) => set(total, splatF32(0))),
      ...body,
      ...(this.options.tokens > 0 ? this.#results() : []),
      ...(this.#reads ? this.module.keep(get(this.#reads)) : []),
    ];
  }

  #repeat(counter: Local, body: Code): Code {
    return loop(
      body,
      brIf(0, [
        ...set(counter, op("i32.sub", get(counter), i32(1))),
        ...get(counter),
      ]),
    );
  }

  /** Processes 32 columns of all tokens, then advances the addresses. */
  #span(): Code {
    const { locals, options: { format, offsets } } = this;
    const read = load("i32.load", get(locals.ahead));
    return [
      ...(this.#reads
        ? [
          ...set(this.#reads, op("i32.or", get(this.#reads), read)),
          ...this.#move(locals.ahead, LINE_BYTES),
        ]
        : []),
      ...this.#groups(),
      ...locals.panels.flatMap((panel) => this.#move(panel, quantBytes(format))),
      ...this.#move(locals.scales, scalesBytes(format)),
      ...(offsets ? this.#move(locals.offsets, OFFSET_BYTES) : []),
      ...locals.x.flatMap((x) => this.#move(x, RECORD_BYTES)),
    ];
  }

  #move(pointer: Local, bytes: number): Code {
    return set(pointer, this.module.plus(get(pointer), this.module.addressConst(bytes)));
  }

  #groups(): Code {
    const { locals, options: { format, form, offsets } } = this;
    const groups = 32 / format.group;
    return Array.from({ length: groups }, (_, half) => {
      const group = sums(this.#sums, {
        f: this.f,
        format,
        form,
        tokens: locals.x,
        half: half as 0 | 1,
        ...(offsets === "read" ? { offsets: locals.offsets } : {}),
      });
      const added = [
        ...group.start(),
        ...this.#steps(half, groups, (column) => group.step(this.#vectors, column)),
      ];
      const { offset } = group;
      if (offsets === "write" && offset) {
        const write = (p: number) => store("v128.store", get(locals.offsets), 16 * p, offset(p));
        return [...added, ...Array.from({ length: PANELS }, (_, p) => write(p)).flat()];
      }
      return [
        ...added,
        ...this.#xScales.flatMap((scale, t) =>
          set(scale, load("v128.load32_splat", get(locals.x[t]!), RECORD.scale))
        ),
        ...this.#xSums.flatMap((sum, t) =>
          set(sum, load("v128.load32_splat", get(locals.x[t]!), RECORD.sums[half]!))
        ),
        ...Array.from({ length: PANELS }, (_, p) => [
          ...this.#loadScales(p, half),
          ...locals.x.flatMap((_, t) => this.#scaled(p, t, group.finish(p, t))),
        ]).flat(),
      ];
    }).flat();
  }

  /**
   * Loads the vectors of weights of a span, or of one half of it, and adds the code of `step` for
   * each.
   */
  #steps(half: number, groups: number, step: (column: number) => Code): Code {
    const { format } = this.options;
    const { quants, values } = format;
    const each = (write: (p: number) => Code) => this.#vectors.flatMap((_, p) => write(p));
    const vectorAt = (p: number, j: number) =>
      load("v128.load", get(this.locals.panels[p]!), 16 * j);
    const unpacked = (p: number, packed: Code) => {
      const nibbles = op("v128.and", packed, this.f.constant(splatI32(0x0f0f0f0f)));
      const looked = values && op("i8x16.swizzle", this.f.constant(vector(values)), nibbles);
      return set(this.#vectors[p]!, looked ?? nibbles);
    };
    const count = quantBytes(format) / 16 / groups;
    const vectors = Array.from({ length: count }, (_, j) => half * count + j);
    if (quants === "nibble") {
      return vectors.flatMap((j) => [
        ...each((p) => set(this.#packed[p]!, vectorAt(p, j))),
        ...each((p) => unpacked(p, get(this.#packed[p]!))),
        ...step(8 * j),
        ...each((p) => unpacked(p, op("i16x8.shr_u", get(this.#packed[p]!), i32(4)))),
        ...step(8 * j + 4),
      ]);
    }
    return vectors.flatMap((j) => [
      ...each((p) => set(this.#vectors[p]!, vectorAt(p, j))),
      ...step(4 * j),
    ]);
  }

  #loadScales(panel: number, half: number): Code {
    const { format, form } = this.options;
    const { scales, minima, zero } = format;
    const address = get(this.locals.scales);
    if (scales === "half") {
      const minimum = loadHalves(this.f, address, minimumAt(format, panel));
      // The offset that was subtracted from the quants is added back, times the scale, to the
      // minimum.
      const shifted = zero < 0
        ? multiplyAdd(form, get(this.#scale), this.f.constant(splatF32(-zero)), minimum)
        : minimum;
      return [
        ...set(this.#scale, loadHalves(this.f, address, scaleAt(format, panel))),
        ...(minima ? set(this.#minimum, shifted) : []),
      ];
    }
    if (scales === "exponent") {
      const exponents = op(
        "i32x4.extend_low_i16x8_u",
        op(
          "i16x8.extend_low_i8x16_u",
          load("v128.load32_zero", address, scaleAt(format, panel)),
        ),
      );
      // 2^(e − 128). Scales below 2^−126 are treated as 0.
      const below = op("i32x4.sub", exponents, this.f.constant(splatI32(1)));
      const shifted = op("i32x4.max_s", below, this.f.constant(splatI32(0)));
      return set(this.#scale, op("i32x4.shl", shifted, i32(23)));
    }
    const bytes = (at: number) =>
      op(
        "f32x4.convert_i32x4_s",
        op(
          "i32x4.extend_low_i16x8_s",
          op("i16x8.extend_low_i8x16_s", load("v128.load32_zero", address, at + 4 * half)),
        ),
      );
    return [
      ...set(this.#scale, bytes(scaleAt(format, panel))),
      ...(minima ? set(this.#minimum, bytes(minimumAt(format, panel))) : []),
    ];
  }

  /** Adds a group's sums, times its scales, to the results of a token. */
  #scaled(panel: number, token: number, sum: Code): Code {
    const { format: { scales, minima }, form } = this.options;
    const byte = scales === "byte";
    const total = (byte ? this.#supers : this.#totals)[panel]![token]!;
    const minimum = byte ? this.#superMinima[panel]![token]! : total;
    const value = op(
      "f32x4.mul",
      op("f32x4.convert_i32x4_s", sum),
      get(this.#xScales[token]!),
    );
    return [
      ...set(total, multiplyAdd(form, value, get(this.#scale), get(total))),
      ...(minima
        ? set(
          minimum,
          multiplyAdd(form, get(this.#minimum), get(this.#xSums[token]!), get(minimum)),
        )
        : []),
    ];
  }

  /** Applies the common scales of 256 columns. The minima are subtracted. */
  #superblock(): Code {
    const { locals, options: { form, tokens, format } } = this;
    const address = get(locals.scales);
    const add = (p: number, from: Local[][], factor: Local) =>
      Array.from({ length: tokens }, (_, t) =>
        set(
          this.#totals[p]![t]!,
          multiplyAdd(form, get(from[p]![t]!), get(factor), get(this.#totals[p]![t]!)),
        )).flat();
    return [
      ...Array.from({ length: PANELS }, (_, p) => [
        ...set(this.#scale, loadHalves(this.f, address, 8 * p)),
        ...add(p, this.#supers, this.#scale),
        ...(format.minima
          ? [
            ...set(this.#minimum, op("f32x4.neg", loadHalves(this.f, address, 8 * (PANELS + p)))),
            ...add(p, this.#superMinima, this.#minimum),
          ]
          : []),
      ]).flat(),
      ...this.#move(locals.scales, superBytes(format)),
    ];
  }

  #results(): Code {
    const { module, locals, options: { tokens } } = this;
    const factors = stripFactors(module, locals.operation, locals.weights);
    return Array.from({ length: PANELS }, (_, panel) => [
      ...set(this.#scale, load("v128.load", factors, 16 * panel)),
      ...Array.from({ length: tokens }, (_, t) => {
        const value = this.#totals[panel]![t]!;
        return [
          ...set(value, op("f32x4.mul", get(value), get(this.#scale))),
          ...storeResult(module, locals.operation, {
            bias: locals.bias,
            y: locals.y[t]!,
            value,
            panel,
          }),
        ];
      }).flat(),
    ]).flat();
  }
}
