/** What AMD's compiler says of the kernels for GPUs: the golden file, its limits, and how it is read. */

import assert from "node:assert/strict";
import { chipFeatures, CHIPS } from "../../isa/driver.ts";
import { type Figures, spilling } from "../../isa/report.ts";
import { parseStatistics } from "../../isa/statistics.ts";
import { variants } from "../../isa/variants.ts";
import { GROUP_LAYOUT, type TensorType } from "../../kernels/tensor_types.ts";

const GOLDEN: Record<string, Record<string, Figures>> = JSON.parse(
  Deno.readTextFileSync(new URL("../../fixtures/goldens/isa.json", import.meta.url)),
);

for (const chip of CHIPS) {
  Deno.test(`the golden file has every kernel for ${chip}, within its registers`, () => {
    const figures = new Map(Object.entries(GOLDEN[chip]!));
    const names = variants(chipFeatures(chip)).map(({ name }) => name);
    assert.deepEqual([...figures.keys()], names);
    assert.deepEqual(spilling(figures), []);
    for (const [name, { vgprs }] of figures) {
      const most = MANY_REGISTERS.test(name)
        ? 84
        : / 1 token/.test(name)
        ? 64
        : /^((matmul|dots) .* tokens|experts|attention)/.test(name)
        ? 128
        : 256;
      assert.ok(vgprs <= most, `${name}: ${vgprs}`);
    }
  });

  Deno.test(`products have few instructions and bytes a weight on ${chip}`, () => {
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
      // Figures are rounded to hundredths. MXFP4 has exponents of 16 bits on the device.
      const times = (figures.bytesPerWeight - 0.005) / (bytes / weights);
      assert.ok(
        times <= (type === "MXFP4" ? 1.06 : 1.05),
        `${name}: ${times} times the file's bytes`,
      );
    }
  });
}

/** Of these formats an iteration has more bytes than others, before they are used. */
const MANY_REGISTERS = /dots (Q6_K|MLX8_\d+), 1 token/;

/**
 * Vector instructions a weight of one token, RMSNorm included, at most. Where a chip has no multiply-add
 * that takes halves (vega10), F16 and the formats whose values are looked up need one more a weight.
 */
const VALU: Readonly<Record<string, number>> = {
  ...{ F32: 2, F16: 2.6, BF16: 2.6, Q4_0: 3.5, Q4_1: 3.5, Q5_0: 4, Q5_1: 4, Q8_0: 3.5 },
  ...{ Q2_K: 4.5, Q3_K: 4.5, Q4_K: 4.5, Q5_K: 4.5, Q6_K: 4.5 },
  ...{ IQ4_NL: 3.6, IQ4_XS: 3.9, MXFP4: 3.6 },
  ...{ MLX4_64: 3.5, MLX4_128: 3.5, MLX8_32: 3.5, MLX8_64: 3.5, MLX8_128: 3.5 },
};

/** As the driver prints it for RDNA 3 and, with other names, for older chips. */
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

Deno.test("parseStatistics() reads the table and the loop that multiplies", () => {
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
