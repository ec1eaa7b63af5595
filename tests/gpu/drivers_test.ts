/** Runs the kernel tests on installed drivers that have other limits and features. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { exists, run } from "../program/run_tvllm.ts";

/** An independent Vulkan driver, part of Debian's chromium-common. */
const SWIFTSHADER = "/usr/lib/chromium/vk_swiftshader_icd.json";

/** Leaves out the hardware tuning, whose kernels these drivers take minutes to compile. */
const SOFTWARE = { TVLLM_TEST_TUNINGS: "software" };
const OPENGL = { DENO_WEBGPU_BACKEND: "gl" };
const SWIFTSHADER_ALONE = {
  DENO_WEBGPU_BACKEND: "vulkan",
  VK_DRIVER_FILES: SWIFTSHADER,
  VK_ICD_FILENAMES: SWIFTSHADER,
};

/** In `deno task test:long` these tests represent the hardware tuning on these drivers. */
const LONG = Deno.env.get("TVLLM_TEST_LONG") !== undefined;
const HARDWARE =
  "/matmul in (Q4_K|MXFP4), hardware: (any|norm)|matmul in Q8_0, planes|attention, hardware/";

interface Driver {
  readonly name: string;
  readonly env: Record<string, string>;
  /** The tests to run, in the syntax of Deno's --filter; default all. */
  readonly filter?: string;
  readonly present: boolean;
  readonly adapter: RegExp;
  /** Minimum number of tests that must pass. */
  readonly tests: number;
}

const DRIVERS: readonly Driver[] = [
  {
    // No subgroups, no shader-f16.
    name: "llvmpipe through OpenGL",
    env: { ...OPENGL, ...SOFTWARE },
    present: await hasLlvmpipe(OPENGL),
    adapter: /^Adapter: llvmpipe .*, subgroups of 0$/m,
    tests: 130,
  },
  {
    name: "llvmpipe through OpenGL, as on hardware",
    env: OPENGL,
    filter: HARDWARE,
    present: LONG && await hasLlvmpipe(OPENGL),
    adapter: /^Adapter: llvmpipe .*, subgroups of 0$/m,
    tests: 10,
  },
  {
    // Subgroups of 16 lanes, whose sums the hardware tuning's products compute by shuffles.
    name: "llvmpipe with wide vectors",
    env: { LP_NATIVE_VECTOR_WIDTH: "512" },
    filter: "/matmul in (Q4_0|Q6_K), hardware: (any|norm)|products of hardware/",
    present: await hasLlvmpipe({ LP_NATIVE_VECTOR_WIDTH: "512" }),
    adapter: /^Adapter: llvmpipe .*, subgroups of 16$/m,
    tests: 6,
  },
  {
    // Subgroups of four lanes, no shader-f16, bindings of at most 1 GiB.
    name: "SwiftShader",
    env: { ...SWIFTSHADER_ALONE, ...SOFTWARE },
    present: exists(SWIFTSHADER),
    adapter: /^Adapter: SwiftShader .*, subgroups of 4$/m,
    tests: 130,
  },
  {
    name: "SwiftShader, as on hardware",
    env: SWIFTSHADER_ALONE,
    filter: HARDWARE,
    present: LONG && exists(SWIFTSHADER),
    adapter: /^Adapter: SwiftShader .*, subgroups of 4$/m,
    tests: 10,
  },
];

const TESTS = ["kernels_test.ts", "experts_test.ts", "sampling_test.ts", "variants_test.ts"].map(
  (name) => fileURLToPath(new URL(name, import.meta.url)),
);

/** Runs Deno with an environment that chooses the driver. */
function runDeno(args: readonly string[], env: Record<string, string>) {
  return run(Deno.execPath(), args, { env: { ...env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" } });
}

async function hasLlvmpipe(env: Record<string, string>): Promise<boolean> {
  const code = "console.log((await navigator.gpu.requestAdapter())?.info.description)";
  return (await runDeno(["eval", code], env)).stdout.startsWith("llvmpipe");
}

// All run at once: most of their time goes into compilers, which use one core each.
const present = DRIVERS.filter(({ present }) => present);
const started = new Map(present.map(({ name, env, filter }) => {
  const temporary = Deno.env.get("TMPDIR") ?? "/tmp";
  const permissions = ["--no-prompt", "--allow-read", "--allow-env", `--allow-write=${temporary}`];
  const some = filter === undefined ? [] : ["--filter", filter];
  return [name, runDeno(["test", "--no-check", ...permissions, ...some, ...TESTS], env)];
}));

for (const { name, present, adapter, tests } of DRIVERS) {
  if (!present) {
    const why = LONG ? "it is not there; .ci/run installs it" : "not there, or for test:long alone";
    console.error(`skipping ${name}: ${why}`);
  }
  Deno.test({
    name: `kernels and sampling are correct on ${name}`,
    ignore: !present,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const { code, stdout, stderr } = await started.get(name)!;
      // SwiftShader once freed memory twice (SIGABRT) at the end of the process, after all tests
      // had passed and were counted. 20 later runs ended normally.
      if (code !== 134) assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, adapter);
      const [, passed, failed] = /^ok \| (\d+) passed \| (\d+) failed/m.exec(stdout) ?? [];
      assert.equal(failed, "0", stdout);
      // A driver on which tests are missing must not pass.
      assert.ok(Number(passed) >= tests, stdout);
    },
  });
}
