/** AMD's compiler on the GPU kernels: limits for the golden file, and parsing of its output. */

import assert from "node:assert/strict";
import { chipFeatures, CHIPS } from "../../isa/driver.ts";
import { type Figures, spilling } from "../../isa/report.ts";
import { parseStatistics } from "../../isa/statistics.ts";
import { unknownWords } from "../../isa/words.ts";
import { variants } from "../../isa/variants.ts";
import { GROUP_LAYOUT, type TensorType } from "../../kernels/tensor_types.ts";

const GOLDEN: Record<string, Record<string, Figures>> = JSON.parse(
  Deno.readTextFileSync(new URL("../../fixtures/goldens/isa.json", import.meta.url)),
);

for (const chip of CHIPS) {
  Deno.test(`the golden file has every kernel for ${chip}, and none uses too many registers`, () => {
    const figures = new Map(Object.entries(GOLDEN[chip]!));
    const names = variants(chipFeatures(chip)).map(({ name }) => name);
    assert.deepEqual([...figures.keys()], names);
    assert.deepEqual(spilling(figures), []);
    for (const [name, { vgprs }] of figures) {
      const most = / 1 token/.test(name)
        ? 64
        : /^((matmul|dots) .* tokens|experts|attention)/.test(name)
        ? 128
        : 256;
      assert.ok(vgprs <= most, `${name}: ${vgprs}`);
    }
  });

  Deno.test(`products need few instructions and bytes per weight on ${chip}`, () => {
    for (const [name, figures] of Object.entries(GOLDEN[chip]!)) {
      const [, by, type, tokens] = /^(matmul|dots) (\w+), (1 token|prompts)/.exec(name) ?? [];
      if (type === undefined) continue;
      if (tokens === "prompts") {
        assert.ok(figures.multiplyAdds >= 60, `${name}: ${figures.multiplyAdds} %`);
        continue;
      }
      const most = by === "dots" ? / Q\d_K/.test(name) ? 2.5 : 1.8 : VALU[type]!;
      assert.ok(figures.valuPerWeight <= most, `${name}: ${figures.valuPerWeight}`);
      const { bytes, weights } = GROUP_LAYOUT[type as TensorType];
      // Figures are rounded to hundredths.
      const times = (figures.bytesPerWeight - 0.005) / (bytes / weights);
      assert.ok(times <= 1.05, `${name}: ${times} times the file's bytes`);
    }
  });
}

/**
 * Maximum vector instructions per weight for one token, including RMSNorm. On a chip without
 * multiply-add for halves (vega10), F16 and the formats with lookup tables need one more a weight.
 */
const VALU: Readonly<Record<string, number>> = {
  ...{ F32: 2, F16: 2.5, BF16: 2.5, Q4_0: 3.5, Q4_1: 3.5, Q5_0: 3.7, Q5_1: 3.7, Q8_0: 3.5 },
  ...{ Q2_K: 4.5, Q3_K: 4.5, Q4_K: 4.5, Q5_K: 4.5, Q6_K: 4.5 },
  ...{ IQ4_NL: 3.52, IQ4_XS: 3.75, MXFP4: 3.5 },
  ...{ MLX4_64: 3.5, MLX4_128: 3.5, MLX8_32: 3.5, MLX8_64: 3.5, MLX8_128: 3.5 },
};

/** The driver's output for RDNA 3, with some instruction names of older chips. */
const OUTPUT = `
After RA:
BB0
	p_logical_start

disasm:
BB0:
	s_mov_b32 s0, 0                     ; bf800000
	v_mov_b32_e32 v0, 0                 ; 7e000280
BB1:
	buffer_load_b128 v[0:3], v4, s[0:3], 0 offen  ; e0500000
	buffer_load_dwordx2 v[4:5], v4, s[0:3], 0     ; e0500000
	buffer_load_u16 v6, v4, s[0:3], 0             ; e0500000
	v_fma_f32 v0, v1, v2, v3            ; d6130000
	v_cvt_f32_ubyte0_e32 v0, v1         ; 7e000000
	s_cbranch_scc1 BB1                  ; bf850000
BB2:
	v_exp_f32_e32 v0, v0                ; 7e000000
	v_exp_f32_e32 v0, v0                ; 7e000000
	s_cbranch_scc0 BB2                  ; bf850000
	s_endpgm                            ; bf810000

Compute Shader:
*** SHADER STATS ***
VGPRs: 84
Spilled SGPRs: 1
Spilled VGPRs: 2
Code size: 5300
LDS size: 4096
Scratch size: 12
Subgroups per SIMD: 18
Instructions: 11
Branches: 2
VALU: 5
VMEM: 3
********************
`;

Deno.test("parseStatistics() reads the table and the loop with the multiplications", () => {
  assert.deepEqual(parseStatistics(OUTPUT), {
    instructions: 11,
    valu: 5,
    vmem: 3,
    branches: 2,
    vgprs: 84,
    waves: 18,
    lds: 4096,
    scratch: 12,
    spilled: 3,
    loop: { valu: 2, multiplyAdds: 1, vmem: 3, loadBytes: 26, branches: 1 },
  });
  assert.throws(() => parseStatistics(OUTPUT.replace("VALU: 5", "")), SyntaxError);
  assert.throws(() => parseStatistics(OUTPUT.replace("disasm:", "")), SyntaxError);
});

Deno.test("parseStatistics() reads the compiler's own form if there is no disassembler", () => {
  const start = OUTPUT.indexOf("disasm:");
  const end = OUTPUT.indexOf("\nCompute Shader:");
  const printed = `disasm:
Shader disassembly is not supported in the current configuration, falling back to print_program.

After lowering to hw instructions:
BB0
/* logical preds: / linear preds: / kind: uniform, top-level, */
	 s1: %0:s[0] = s_mov_b32 %40:s[5]
BB1
	s_clause imm:1
	 v4: %18:v[0-3] = buffer_load_dwordx4 %16:s[0-3], %19:v[4], 0 offen storage:buffer
	 v1: %0:v[1] = v_dual_mov_b32 0 :: v1: %0:v[0] = v_dual_mov_b32 0
	 v1: %9:v[0],  s2: %4:vcc = v_add_co_u32 %1:v[0], %2:v[1]
	 v1: %12:v[0] = v_fma_f32 %10:v[1], %8:v[2], %9:v[0]
	s_cbranch_scc0 block:BB1
BB2
	s_endpgm
`;
  const { loop } = parseStatistics(OUTPUT.slice(0, start) + printed + OUTPUT.slice(end));
  assert.deepEqual(loop, { valu: 3, multiplyAdds: 1, vmem: 1, loadBytes: 16, branches: 1 });
});

Deno.test("--only refuses words that are in no kernel's name, and quotes them", () => {
  const names = variants(chipFeatures("navi31")).map(({ name }) => name);
  for (const only of ["", "Q4_K 1 token", "attention f16, 128 wide", "rope_append"]) {
    assert.equal(unknownWords(only.toLowerCase().split(/\s+/), names), undefined, only);
  }
  assert.equal(
    unknownWords(["matmul", "q9_k"], names),
    "Cannot choose kernels: no kernel has 'q9_k' in its name; use words from kernel names, such as " +
      "'matmul Q4_K, 1 token', 'attention f16, 128 wide', 'rope_append'",
  );
  assert.match(
    unknownWords(["attention", "q4_k"], names)!,
    /no kernel has all of 'attention', 'q4_k' in/,
  );
});
